"""The numbers behind a change of replicas, in words: for the record of what happened, never for a condition."""

from modelfleet.plan.scale import queue_per_replica
from modelfleet.plan.snapshot import Idle, Missing, Target, TierSnapshot


def facts(snap: TierSnapshot) -> str:
    """Every target with what was measured against it; of a planned tier, what the plan saw."""
    if not snap.targets and snap.planned is not None and snap.planned.carries_rps:
        plan = snap.planned
        limit = f" within {plan.limit}" if plan.limit else ""
        return f"{plan.free} for {plan.bound}, {plan.carries_rps:.3g} requests/s each{limit}"
    return ", ".join(_fact(target, snap) for target in snap.targets)


def _fact(target: Target, snap: TierSnapshot) -> str:
    if isinstance(target.reading, Missing):
        return f"{target.name} unknown"
    if isinstance(target.reading, Idle):
        return f"{target.name} idle"
    measured = target.reading.value
    if target.type == "TTFT":
        return f"{target.name} {measured:.3g} s of {target.value:g} s"
    if target.type == "Queue":
        measured = queue_per_replica(measured, replicas=snap.replicas, slots=snap.slots)
    else:
        measured /= max(1, snap.replicas)
    return f"{target.name} {measured:.3g} of {target.value:g} per replica"
