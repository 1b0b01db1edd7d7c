from dataclasses import replace

from modelfleet.api.scaling import ScalingBehavior
from modelfleet.plan.behavior import behavior
from modelfleet.plan.facts import facts
from modelfleet.plan.snapshot import Idle, Missing, Sample, Target, TierSnapshot

SNAP = TierSnapshot(
    replicas=2,
    replicas_ready=2,
    replicas_measured=2,
    replicas_min=1,
    replicas_max=5,
    slots=4,
    targets=(),
    in_flight=Missing(),
    behavior=behavior(ScalingBehavior()),
    stale_after_s=60.0,
)


def test_every_target_is_shown_in_the_unit_of_its_target():
    load = Sample(12.0, age_s=1.0, complete=True)
    targets = (
        Target("busy", "Concurrency", 4.0, load),
        Target("waiting", "Queue", 1.0, load),
        Target("ttft", "TTFT", 0.5, Sample(1.8342, age_s=1.0, complete=True)),
        Target("itl", "ITL", 0.04, Sample(0.0512, age_s=1.0, complete=True)),
        Target("kv", "KVCache", 0.8, Sample(0.93, age_s=1.0, complete=True)),
        Target("mine", "PromQL", 2.5, Sample(9.0, age_s=1.0, complete=True)),
        Target("idle", "TTFT", 0.5, Idle()),
        Target("lost", "TTFT", 0.5, Missing()),
    )

    assert facts(replace(SNAP, targets=targets)) == (
        "busy 6 of 4 per replica, waiting 2 of 1 per replica, ttft 1.83 s of 0.5 s, itl 0.0512 s of 0.04 s, kv 93% of 80%, "
        "mine 4.5 of 2.5 per replica, idle idle, lost unknown"
    )
