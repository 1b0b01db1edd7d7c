"""From a verdict about replicas to the part of a ModelTier's status that the capacity loop owns."""

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.meta import Manifest, rfc3339
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.model_tier_status import LastScale
from modelfleet.control.capacity import controls
from modelfleet.control.capacity.status import Judged, condition
from modelfleet.diff.conditions import MESSAGE_CHARS_MAX
from modelfleet.plan.learned import Start
from modelfleet.plan.rules import Verdict
from modelfleet.plan.schedule import Scheduled
from modelfleet.plan.snapshot import SourceName

_HISTORY_MAX = 5


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
    status: Manifest = {"conditions": [condition(tier, judged, now_s)]}
    if tier.spec.scaling is not None and tier.spec.scaling.schedules:
        clock = by_the_clock(controls.schedules(tier.spec.scaling, now_s))
        status["conditions"].append(condition(tier, clock, now_s))
    if verdict is None:
        return status
    if tier.spec.scaling is not None and tier.spec.scaling.idle is not None:
        status["conditions"].append(
            condition(tier, cold(tier, verdict, answers=answers and before > 0), now_s)
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
            time=rfc3339(now_s),
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
