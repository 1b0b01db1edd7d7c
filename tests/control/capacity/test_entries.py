"""Where the whole loop lets requests start: at tiers that are ready, and have room."""

import copy

from modelfleet import names
from modelfleet.api.meta import rfc3339
from tests.control.capacity.fleet import CHAT, SMALL, Fleet


async def test_a_dead_tier_loses_its_entries_without_waiting_for_a_tick(fleet: Fleet):
    await fleet.tick()
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    await fleet.loop.rebalance()
    gone = fleet.weights()
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), since_s=fleet.clock.now)
    await fleet.loop.rebalance()
    not_yet = fleet.weights()
    await fleet.tick(after_s=16.0)

    assert gone == not_yet == {"s": 0, "m": 1000}
    assert fleet.weights() == {"s": 1000, "m": 0}
    assert fleet.status(CHAT)["lastDecision"]["reason"] == "TierReady"
    assert [message for name, reason, message in fleet.told.events if reason == "WeightsChanged"] == [
        "s 1000, m 0: Initial: The initial weights",
        "s 1000 -> 0, m 0 -> 1000: TierNotReady: No ready replica of s",
        "s 0 -> 1000, m 1000 -> 0: TierReady: Ready again: s",
    ]


async def test_a_tier_that_died_before_a_restart_gets_its_entries_back_at_once(fleet: Fleet):
    await fleet.tick()
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    await fleet.tick()
    fleet.loop = fleet.restarted()
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), since_s=fleet.clock.now - 60)
    await fleet.tick()

    assert fleet.weights() == {"s": 1000, "m": 0}


async def test_a_saturated_tier_sheds_one_step_per_interval(fleet: Fleet):
    await fleet.tick()
    fleet.in_flight(30.0)
    await fleet.tick()
    first = fleet.weights()
    await fleet.tick(after_s=5.0)
    too_soon = fleet.weights()
    await fleet.tick(after_s=10.0)

    assert first == too_soon == {"s": 900, "m": 100}
    assert fleet.weights() == {"s": 800, "m": 200}


async def test_new_initial_weights_apply_at_once(fleet: Fleet):
    await fleet.tick()
    chat = copy.deepcopy(fleet.store.objects[CHAT])
    chat["spec"]["tiers"][1]["weight"]["initial"] = 100
    chat["metadata"]["generation"] = 2
    fleet.store.put(chat)
    await fleet.loop.rebalance()

    assert fleet.weights() == {"s": 500, "m": 500}
    assert fleet.status(CHAT)["lastDecision"]["reason"] == "SpecChanged"


async def test_a_deleted_tier_is_forgotten_and_its_cascade_goes_on(fleet: Fleet):
    await fleet.tick()
    del fleet.store.objects[SMALL]
    await fleet.tick()

    assert fleet.weights() == {"s": 0, "m": 1000}
    labels = {"fleet_namespace": "ns", "model_tier": "small"}
    assert fleet.registry.get_sample_value("modelfleet_operator_desired_replicas", labels) is None


async def test_an_external_tier_is_ready_unless_it_says_not(fleet: Fleet):
    spec = {"external": {"baseURL": "https://api.example.com/v1", "model": "big"}}
    fleet.apply("ModelTier", "medium", spec)
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    await fleet.tick()
    open_for_it = fleet.weights()
    no_key = {"type": "Ready", "status": "False", "reason": "NoKey", "lastTransitionTime": rfc3339(0)}
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"))
    fleet.apply("ModelTier", "medium", spec, status={"conditions": [no_key]})
    await fleet.tick(after_s=60.0)

    assert open_for_it == {"s": 0, "m": 1000}
    assert fleet.weights() == {"s": 1000, "m": 0}
