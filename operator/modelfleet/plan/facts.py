"""The numbers behind a change of replicas, in words: for the record of what happened, never for a condition."""

from modelfleet.plan.planner import TierPlan
from modelfleet.plan.scale import queue_per_replica
from modelfleet.plan.snapshot import Idle, Missing, Target, TierSnapshot


def facts(snap: TierSnapshot, plan: TierPlan | None = None) -> str:
    """Every target with what was measured against it; of a tier without any, what its plan saw."""
    if not snap.targets and plan is not None and plan.carries_rps:
        limit = f" within {plan.limit}" if plan.limit else ""
        return f"{plan.free} for {plan.bound}, {plan.carries_rps:.3g} requests/s each{limit}"
    return ", ".join(_fact(target, snap) for target in snap.targets)


def _fact(target: Target, snap: TierSnapshot) -> str:
    if isinstance(target.reading, Missing):
        return f"{target.name} unknown"
    if isinstance(target.reading, Idle):
        return f"{target.name} idle"
    measured = target.reading.value
    if target.type in ("TTFT", "ITL"):
        return f"{target.name} {measured:.3g} s of {target.value:g} s"
    if target.type == "KVCache":
        return f"{target.name} {measured:.0%} of {target.value:.0%}"
    if target.type == "Queue":
        measured = queue_per_replica(measured, replicas=snap.replicas, slots=snap.slots)
    else:
        measured /= max(1, snap.replicas)
    return f"{target.name} {measured:.3g} of {target.value:g} per replica"
