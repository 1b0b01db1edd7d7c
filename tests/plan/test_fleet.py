from modelfleet.api.scaling import ScalingBehavior
from modelfleet.plan.behavior import behavior
from modelfleet.plan.fleet import plan
from modelfleet.plan.snapshot import CascadeSnapshot, FleetSnapshot, Missing, Name, Step, TierSnapshot


def test_every_tier_and_every_cascade_gets_a_verdict():
    tier = TierSnapshot(
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
        source="Silent",
    )
    step = Step(
        "only", 1000, 0, 1000, ready=1, ready_for_s=9.0, slots=4, queue_target=1.0, in_flight=Missing()
    )
    chat = CascadeSnapshot("Auto", 100, 15.0, (step,), weights=None, stale_after_s=60.0)
    fleet = FleetSnapshot(0.0, {Name("a", "t"): tier, Name("b", "t"): tier}, {Name("a", "chat"): chat})

    got = plan(fleet)

    assert {name: verdict.replicas for name, verdict in got.tiers.items()} == dict.fromkeys(fleet.tiers, 2)
    assert got.cascades[Name("a", "chat")].weights == {"only": 1000}
