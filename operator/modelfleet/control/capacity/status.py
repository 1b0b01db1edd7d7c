"""From a verdict to the part of the status that the capacity loop owns.  Pure; the same verdict, the same words.

Server-side apply owns exactly what it is sent, so each call builds everything this loop owns of an object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.budget import Cost
from modelfleet.api.cascade import Cascade, owed_permille
from modelfleet.api.cascade_status import LastDecision
from modelfleet.api.meta import Condition, Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.model_tier_status import LastScale
from modelfleet.control.capacity import controls
from modelfleet.diff.conditions import MESSAGE_CHARS_MAX
from modelfleet.plan import balance as balances
from modelfleet.plan import shares
from modelfleet.plan.learned import Start
from modelfleet.plan.publish import Carries, Law
from modelfleet.plan.rules import Verdict
from modelfleet.plan.schedule import Scheduled
from modelfleet.plan.service_level import WithinSlo
from modelfleet.plan.snapshot import SourceName
from modelfleet.plan.thresholds import Threshold
from modelfleet.plan.weights import WeightsVerdict
from modelfleet.plan.within_budget import Account, cost

_PERMILLE = 10  # per percent
_HISTORY_MAX = 5
_OURS = ("desiredReplicas", "lastScale", "scaleHistory", "coldStart", "scaling", "balance", "cost")
_SOMETIMES = ("Cold", "Scheduled", "WithinSLO", "WithinBudget")  # conditions of ours that come and go


@dataclass(frozen=True, slots=True)
class Judged:
    """A condition without its times."""

    type: str
    status: str
    reason: str
    message: str


def timestamp(now_s: float) -> str:
    """RFC 3339, whole seconds, as Kubernetes writes it."""
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tier_status(
    tier: ModelTier,
    verdict: Verdict | None,
    *,
    before: int,
    facts: str,
    now_s: float,
    first_blind_tick: bool = False,
    answers: bool = False,
    start: Start | None = None,
    measured_by: SourceName = "Prometheus",
) -> Manifest:
    """Of a ModelTier: desiredReplicas, lastScale, scaling, ScalingActive, Scheduled and, where it may sleep, Cold.

    `verdict` is None where nothing scales; `before` is what was wanted until now; `answers`: a replica is ready, and
    all know it.  The first tick without data holds, too, but the condition waits for a second one: a router that
    restarts is missing for one scrape.  `start`: of the newest pod that answers; without one, what was shown stays.
    """
    judged = scaling_active(tier, verdict, measured_by)
    shown = next((c for c in tier.status.conditions if c.type == judged.type), None)
    if first_blind_tick and shown is not None:
        judged = Judged(shown.type, shown.status, shown.reason, shown.message)
    status: Manifest = {"conditions": [_condition(tier, judged, now_s)]}
    if tier.spec.scaling is not None and tier.spec.scaling.schedules:
        clock = by_the_clock(controls.schedules(tier.spec.scaling, now_s))
        status["conditions"].append(_condition(tier, clock, now_s))
    if verdict is None:
        return status
    if tier.spec.scaling is not None and tier.spec.scaling.idle is not None:
        status["conditions"].append(
            _condition(tier, cold(tier, verdict, answers=answers and before > 0), now_s)
        )
    status["desiredReplicas"] = verdict.replicas
    if verdict.instead is not None:
        would = verdict.instead
        status["scaling"] = {"wouldBe": would.replicas, "reason": would.reason, "message": would.message}
    return (
        status | _history(tier, verdict, before=before, facts=facts, now_s=now_s) | _cold_start(tier, start)
    )


def _history(tier: ModelTier, verdict: Verdict, *, before: int, facts: str, now_s: float) -> Manifest:
    """The last change of replicas, and those before it."""
    changes = tier.status.scale_history or [one for one in [tier.status.last_scale] if one is not None]
    if before != verdict.replicas:
        last = LastScale(
            time=timestamp(now_s),
            from_replicas=before,
            to_replicas=verdict.replicas,
            reason=verdict.reason,
            message=f"{verdict.message} ({facts})" if facts else verdict.message,
        )
        changes = [last, *changes][:_HISTORY_MAX]
    shown = [one.model_dump(by_alias=True) for one in changes]
    return {"lastScale": shown[0], "scaleHistory": shown} if shown else {}


def _cold_start(tier: ModelTier, start: Start | None) -> Manifest:
    shown = tier.status.cold_start
    if start is not None:
        parts = (start.scheduling_s, start.image_s, start.weights_s, start.engine_s, start.total_s)
        waited_for = ("scheduling", "image", "weights", "engine", "total")
        return {"coldStart": {name: f"{part:.0f}s" for name, part in zip(waited_for, parts, strict=True)}}
    return {"coldStart": shown.model_dump(by_alias=True)} if shown is not None else {}


def scaling_active(
    tier: ModelTier, verdict: Verdict | None, measured_by: SourceName = "Prometheus"
) -> Judged:
    """Whether the load decides about replicas."""
    if tier.spec.external is not None:
        return Judged("ScalingActive", "False", "NotScalable", "An external API has no replicas of ours")
    if verdict is None:
        return _unscaled(tier)
    if verdict.active and verdict.unread:
        # Said as long as it lasts, whatever the others decide meanwhile.
        text = f"No fresh and complete value of {', '.join(verdict.unread)}; not shrinking"
        full = verdict.reason == "PoolLimit"
        reason, text = ("PoolLimit", f"{verdict.message}. {text}") if full else ("MetricsPartlyStale", text)
        return Judged("ScalingActive", "True", reason, text[:MESSAGE_CHARS_MAX])
    if verdict.active and (verdict.replicas == 0 or verdict.reason == "PoolLimit"):
        return Judged("ScalingActive", "True", verdict.reason, verdict.message)
    return (
        _followed(tier, measured_by)
        if verdict.active
        else Judged("ScalingActive", "False", verdict.reason, verdict.message)
    )


def _followed(tier: ModelTier, measured_by: SourceName) -> Judged:
    source = "as Prometheus tells" if measured_by == "Prometheus" else "as routers and engines tell directly"
    if tier.spec.scaling is not None and not tier.spec.scaling.metrics:
        text = f"The plan for the Cascades that name the tier decides about replicas, on load {source}"
        return Judged("ScalingActive", "True", "FollowsPlan", text)
    text = f"The metrics of spec.scaling decide about replicas, {source}"
    return Judged("ScalingActive", "True", "FollowsMetrics", text)


def by_the_clock(found: Scheduled) -> Judged:
    """Whether a schedule asks for replicas now."""
    status = "True" if found.replicas else "False"
    if found.problems:
        text = f"Schedules that never run, while others hold: {'; '.join(found.problems)}"
        return Judged("Scheduled", status, "InvalidSchedule", text[:MESSAGE_CHARS_MAX])
    if found.replicas:
        text = f"Schedule {found.cron} asks for at least {found.replicas} replicas"
        return Judged("Scheduled", status, "ScheduleRuns", text)
    return Judged("Scheduled", status, "NoScheduleRuns", "No schedule runs now")


def _unscaled(tier: ModelTier) -> Judged:
    if pins.replicas(tier.metadata.annotations).replicas is not None:
        text = f"Annotation {names.ANNOTATION_PIN_REPLICAS} decides about replicas"
        return Judged("ScalingActive", "False", "Pinned", text)
    if tier.spec.existing is not None:
        return _adopted(tier)
    return Judged("ScalingActive", "False", "Disabled", "spec.scaling is unset; spec.replicas is the size")


def _adopted(tier: ModelTier) -> Judged:
    if tier.spec.scaling is None:
        text = "spec.scaling is unset; the workload keeps the replicas it has"
        return Judged("ScalingActive", "False", "Disabled", text)
    why = tier.status.existing.unscalable if tier.status.existing else None
    if why is None:
        return Judged("ScalingActive", "False", "NotLookedAt", "The workload has not been looked at yet")
    return Judged("ScalingActive", "False", why.reason, why.message)


def cold(tier: ModelTier, verdict: Verdict, *, answers: bool) -> Judged:
    """Whether requests may wait for the first replica.  It stays so until one answers, or cannot start."""
    if verdict.replicas == 0:
        return Judged("Cold", "True", "Idle", "Nothing runs; the next request wakes the tier")
    had = {each.type: each for each in tier.status.conditions}
    if answers or "Cold" not in had or had["Cold"].status != "True":
        return Judged("Cold", "False", "Awake", "Replicas run, or are wanted whatever the requests are")
    if "Stalled" in had and had["Stalled"].status == "True":
        return Judged("Cold", "False", "CannotStart", "The first replica cannot start: see condition Ready")
    return Judged("Cold", "True", "WokenUp", "The first replica is on its way, requests wait for it")


def cascade_status(
    cascade: Cascade,
    verdict: WeightsVerdict,
    *,
    before: Mapping[str, int] | None,
    started: Mapping[str, float] | None,
    answered: Mapping[str, float] | None,
    now_s: float,
    within: WithinSlo | None = None,
    law: Law | None = None,
    thresholds: Mapping[str, Threshold] = {},
    whole_hour: bool = True,
    account: Account | None = None,
) -> Manifest:
    """Of a Cascade: weights, thresholds, shares, balance, lastDecision, ShareOnTarget and, with an slo, WithinSLO.

    `started` and `answered` count requests by tier, `within` and `law` come from a plan; None means that nobody could
    be asked, or nothing was planned in this pass, and what was published stays.  `whole_hour`: see plan/balance.py.
    """
    shown = {tier.name: tier for tier in cascade.status.tiers}
    started_shares = _shares(started, {n: t.started_share for n, t in shown.items()})
    answered_shares = _shares(answered, {n: t.answered_share for n, t in shown.items()})
    targets = {t.name: t.target_share * _PERMILLE for t in cascade.spec.tiers if t.target_share is not None}
    order = [tier.name for tier in cascade.spec.tiers]
    last = cascade.status.last_decision
    if before is None or dict(before) != dict(verdict.weights):
        last = LastDecision(
            time=timestamp(now_s),
            reason=verdict.reason,
            message=f"{verdict.message} ({moves(order, before, verdict.weights)})",
        )
    short = [name for name in order if name in thresholds and thresholds[name].short]
    on_target = shares.on_target(answered_shares, targets, short=short)
    judged = [Judged("ShareOnTarget", on_target.status, on_target.reason, on_target.message)]
    if cascade.spec.slo is not None:
        judged.append(within_slo(cascade, within))
    if cascade.spec.budget is not None:
        judged.append(within_budget(cascade, account))
    carries = shown_law(cascade) if law is None else law
    balance = balances.published(
        answered,
        last=order[-1],
        owed_permille=owed_permille(cascade),
        shown=cascade.status.balance,
        whole=whole_hour,
    )
    return {
        "tiers": [
            {"name": name, "weight": verdict.weights[name]}
            | _one("startedShare", started_shares, name)
            | _one("answeredShare", answered_shares, name)
            | _one("targetShare", targets, name)
            | ({"threshold": f"{thresholds[name].value:g}"} if name in thresholds else {})
            | _one("carriesPerHour", {n: one.per_hour for n, one in carries.items()}, name)
            | _one("underWay", {n: one.under_way for n, one in carries.items()}, name)
            for name in order
        ],
        "weights": " ".join(f"{name}={verdict.weights[name]}" for name in order),
        "conditions": [_condition(cascade, one, now_s) for one in judged],
    } | {
        name: told.model_dump(by_alias=True)
        for name, told in (("lastDecision", last), ("balance", balance), ("cost", _cost(cascade, account)))
        if told is not None
    }


def shown_law(cascade: Cascade) -> Law:
    """What was published last."""
    return {
        tier.name: Carries(tier.carries_per_hour, tier.under_way)
        for tier in cascade.status.tiers
        if tier.carries_per_hour is not None and tier.under_way is not None
    }


def within_slo(cascade: Cascade, found: WithinSlo | None) -> Judged:
    """Whether the objectives are kept; what was shown before where nothing was planned."""
    shown = next((c for c in cascade.status.conditions if c.type == "WithinSLO"), None)
    if found is not None:
        return Judged("WithinSLO", found.status, found.reason, found.message[:MESSAGE_CHARS_MAX])
    if shown is not None:
        return Judged(shown.type, shown.status, shown.reason, shown.message)
    return Judged("WithinSLO", "Unknown", "TooFewAnswers", "Fewer than 20 answers in the last hour")


def within_budget(cascade: Cascade, account: Account | None) -> Judged:
    """Whether the money lasts; what was shown before where nothing was counted."""
    shown = next((c for c in cascade.status.conditions if c.type == "WithinBudget"), None)
    if account is not None:
        now = account.standing
        return Judged("WithinBudget", now.status, now.reason, now.message[:MESSAGE_CHARS_MAX])
    if shown is not None:
        return Judged(shown.type, shown.status, shown.reason, shown.message)
    return Judged("WithinBudget", "Unknown", "NotCounted", "What was spent cannot be read yet")


def _cost(cascade: Cascade, account: Account | None) -> Cost | None:
    budget, shown = cascade.spec.budget, cascade.status.cost
    if budget is None or account is None:
        return shown if budget is not None else None
    return cost(account.standing, account.ledger, budget, shown)


def moves(order: Sequence[str], before: Mapping[str, int] | None, after: Mapping[str, int]) -> str:
    """Each weight that changed, in words."""
    if before is None:
        return ", ".join(f"{name} {after[name]}" for name in order)
    return ", ".join(
        f"{name} {before.get(name, 0)} -> {after[name]}"
        for name in order
        if before.get(name, 0) != after[name]
    )


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
    ours_of_tier = (
        "name", "weight", "startedShare", "answeredShare", "targetShare", "threshold", "carriesPerHour", "underWay",
    )  # fmt: skip
    rows = [{k: v for k, v in tier.items() if k in ours_of_tier} for tier in have.get("tiers", [])]
    return sorted(rows, key=_row_name) != sorted(wanted.get("tiers", []), key=_row_name)


def _row_name(row: Mapping[str, object]) -> str:
    return str(row["name"])


def _shares(counts: Mapping[str, float] | None, published: Mapping[str, int | None]) -> dict[str, int]:
    known = {name: share for name, share in published.items() if share is not None}
    return known if counts is None else shares.publish(shares.observed(counts), known)


def _one(field: str, values: Mapping[str, int], name: str) -> dict[str, int]:
    return {field: values[name]} if name in values else {}


def _condition(thing: ModelTier | Cascade, judged: Judged, now_s: float) -> Manifest:
    had: Condition | None = next((c for c in thing.status.conditions if c.type == judged.type), None)
    stays = had is not None and had.status == judged.status and had.last_transition_time
    return {
        "type": judged.type,
        "status": judged.status,
        "reason": judged.reason,
        "message": judged.message,
        "lastTransitionTime": had.last_transition_time if had and stays else timestamp(now_s),
        "observedGeneration": thing.metadata.generation,
    }
