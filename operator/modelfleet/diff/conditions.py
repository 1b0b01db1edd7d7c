"""Conditions that never flap: a transition time moves with the status only, and one cause has one wording."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelfleet.api.meta import Condition, ConditionStatus, Manifest, rfc3339
from modelfleet.diff.changes import contains

MESSAGE_CHARS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as judged now; `type` says what it is about."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def pinned(annotation: str, *, holds: bool, problem: str | None) -> Finding | None:
    """Of an annotation that takes something out of the operator's hands; None where nobody wrote it."""
    if problem is not None:
        return Finding("Pinned", "False", "InvalidPin", problem)
    if holds:
        text = f"Annotation {annotation} decides, until it is removed"
        return Finding("Pinned", "True", "PinnedByAnnotation", text)
    return None


def conditions(
    findings: Sequence[Finding], before: Sequence[Condition], *, generation: int, now_s: float
) -> list[Manifest]:
    """The findings as conditions, sorted by type.  A type without a finding is absent."""
    previous = {condition.type: condition for condition in before}
    return [
        {
            "type": finding.type,
            "status": finding.status,
            "reason": finding.reason,
            "message": finding.message[:MESSAGE_CHARS_MAX],
            "lastTransitionTime": _transition(finding, previous.get(finding.type), now_s),
            "observedGeneration": generation,
        }
        for finding in sorted(findings, key=lambda finding: finding.type)
    ]


def status_converged(observed: Mapping[str, Any], wanted: Mapping[str, Any], *, types: Sequence[str]) -> bool:
    """Whether the stored status says what we want, and nothing more in the lists that two loops share.

    Ours are the conditions of these `types`, and `ready` of a Cascade's tiers.
    """
    conditions = {each["type"] for each in observed.get("conditions") or () if each["type"] in types}
    tiers = {each["name"] for each in observed.get("tiers") or () if "ready" in each}
    return (
        conditions == {each["type"] for each in wanted["conditions"]}
        and tiers == {each["name"] for each in wanted.get("tiers", ())}
        and contains(observed, wanted)
    )


def _transition(finding: Finding, previous: Condition | None, now_s: float) -> str:
    if previous and previous.status == finding.status and previous.last_transition_time:
        return previous.last_transition_time
    return rfc3339(now_s)
