"""What the statuses of both kinds have in common.  Pure; the same verdict, the same words.

Server-side apply owns exactly what it is sent, so each call builds everything this loop owns of an object.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Condition, Manifest, rfc3339
from modelfleet.api.model_tier import ModelTier

_OURS = ("desiredReplicas", "lastScale", "scaleHistory", "coldStart", "scaling", "balance", "cost")
_OURS_OF_A_STEP = (
    "name", "weight", "startedShare", "answeredShare", "targetShare", "threshold", "carriesPerHour", "underWay",
)  # fmt: skip
_SOMETIMES = ("Cold", "Scheduled", "WithinSLO", "WithinBudget")  # conditions of ours that come and go


@dataclass(frozen=True, slots=True)
class Judged:
    """A condition without its times."""

    type: str
    status: str
    reason: str
    message: str


def condition(thing: ModelTier | Cascade, judged: Judged, now_s: float) -> Manifest:
    """As Kubernetes writes it; its time stays while its status does."""
    had: Condition | None = next((c for c in thing.status.conditions if c.type == judged.type), None)
    stays = had is not None and had.status == judged.status and had.last_transition_time
    return {
        "type": judged.type,
        "status": judged.status,
        "reason": judged.reason,
        "message": judged.message,
        "lastTransitionTime": had.last_transition_time if had and stays else rfc3339(now_s),
        "observedGeneration": thing.metadata.generation,
    }


def changed(wanted: Manifest, thing: ModelTier | Cascade) -> bool:
    """Whether the status lacks any of `wanted`, or holds a field of ours that is not in it."""
    have = thing.status.model_dump(by_alias=True, exclude_none=True)
    if any(have.get(name) != value for name, value in wanted.items() if name not in ("conditions", "tiers")):
        return True
    if any(have.get(name, []) != [] and name not in wanted for name in _OURS):
        return True
    conditions = {condition["type"]: condition for condition in have.get("conditions", [])}
    if any(conditions.get(ours["type"]) != ours for ours in wanted["conditions"]):
        return True
    sent = {ours["type"] for ours in wanted["conditions"]}
    if any(kind in conditions and kind not in sent for kind in _SOMETIMES):
        return True
    rows = [{k: v for k, v in tier.items() if k in _OURS_OF_A_STEP} for tier in have.get("tiers", [])]
    return sorted(rows, key=_row_name) != sorted(wanted.get("tiers", []), key=_row_name)


def _row_name(row: Mapping[str, object]) -> str:
    return str(row["name"])
