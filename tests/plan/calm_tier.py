"""A calm tier with a metric of its own, for tests of the rules that size it."""

from modelfleet.api.scaling import ScalingBehavior
from modelfleet.plan.behavior import behavior
from modelfleet.plan.snapshot import Reading, Sample, Target, TierSnapshot

NOW = 1000.0


def fresh(value: float) -> Sample:
    return Sample(value, age_s=3.0, complete=True)


def busy(reading: Reading) -> Target:
    return Target("busy", "Concurrency", 4.0, reading)


def ttft(reading: Reading) -> Target:
    return Target("ttft", "TTFT", 0.5, reading)


CALM = TierSnapshot(
    replicas=3,
    replicas_ready=3,
    replicas_measured=3,
    replicas_min=1,
    replicas_max=6,
    slots=4,
    targets=(busy(fresh(12.0)),),
    in_flight=fresh(12.0),
    behavior=behavior(ScalingBehavior()),
    stale_after_s=60.0,
)
