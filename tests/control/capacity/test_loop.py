import asyncio
from collections.abc import Callable

import pytest

from modelfleet import names
from modelfleet.plan.load import FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import CHAT, MEDIUM, SMALL, Fleet


async def test_the_first_tick_records_what_runs_and_sets_every_condition(fleet: Fleet):
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 1
    assert fleet.condition(SMALL) == ("True", "FollowsMetrics")
    assert fleet.condition(MEDIUM) == ("False", "Disabled")
    assert fleet.condition(CHAT) == ("True", "OnTarget")
    assert fleet.status(CHAT)["weights"] == "s=1000 m=0"
    assert fleet.status(CHAT)["lastDecision"]["reason"] == "Initial"
    assert fleet.status(CHAT)["tiers"] == [
        {"name": "s", "weight": 1000, "startedShare": 900, "answeredShare": 700, "targetShare": 700},
        {"name": "m", "weight": 0, "startedShare": 100, "answeredShare": 300},
    ]


async def test_no_decision_recorded_keeps_what_runs_never_the_minimum(fleet: Fleet):
    meta = {"namespace": "ns", "name": names.tier_child("small")}
    fleet.store.put({"kind": "Deployment", "metadata": meta, "spec": {"replicas": 4}})
    fleet.prometheus.answer = None

    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 4


async def test_at_rest_nothing_is_written(fleet: Fleet):
    await fleet.tick()
    written = len(fleet.store.writes)
    for _ in range(10):
        await fleet.tick()
    await fleet.loop.rebalance()

    assert len(fleet.store.writes) == written


async def test_a_write_that_the_watch_has_not_brought_back_is_not_repeated(fleet: Fleet):
    fleet.store.deaf = True
    await fleet.tick()
    written = len(fleet.store.writes)
    await fleet.tick()

    assert len(fleet.store.writes) == written


async def test_load_grows_the_tier_and_says_why(fleet: Fleet):
    await fleet.tick()
    fleet.in_flight(11.0)
    await fleet.tick()

    scaled = fleet.status(SMALL)
    assert scaled["desiredReplicas"] == 3
    assert scaled["lastScale"]["reason"] == "ConcurrencyAboveTarget"
    assert (scaled["lastScale"]["from"], scaled["lastScale"]["to"]) == (1, 3)
    assert "busy 11 of 4 per replica" in scaled["lastScale"]["message"]
    assert ("small", "ScaledUp") in [event[:2] for event in fleet.told.events]
    labels = {
        "fleet_namespace": "ns",
        "model_tier": "small",
        "direction": "up",
        "reason": "ConcurrencyAboveTarget",
    }
    assert fleet.registry.get_sample_value("modelfleet_operator_scale_decisions_total", labels) == 1


async def test_load_gone_shrinks_the_tier_only_after_the_window(fleet: Fleet):
    fleet.in_flight(11.0)
    await fleet.tick()
    fleet.in_flight(1.0)
    seen = []
    for _ in range(4):
        await fleet.tick()
        seen.append(fleet.status(SMALL)["desiredReplicas"])

    assert seen == [3, 1, 1, 1]


async def test_a_restarted_loop_holds_for_the_whole_window(fleet: Fleet):
    fleet.in_flight(11.0)
    await fleet.tick()
    fleet.in_flight(1.0)
    fleet.loop = fleet.restarted()
    seen = []
    for _ in range(4):
        await fleet.tick()
        seen.append(fleet.status(SMALL)["desiredReplicas"])

    assert seen[:2] == [3, 3]
    assert seen[-1] == 1


async def test_a_fault_at_one_object_leaves_the_others_their_decisions(fleet: Fleet):
    await fleet.tick()
    fleet.told.faulty = {"chat"}
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    fleet.in_flight(11.0)
    await fleet.tick()

    assert fleet.weights() == {"s": 0, "m": 1000}
    assert fleet.status(SMALL)["desiredReplicas"] == 3


async def test_a_refused_write_has_not_happened(fleet: Fleet):
    await fleet.tick()
    fleet.in_flight(11.0)
    fleet.store.refuses = True
    await fleet.tick()
    fleet.store.refuses = False
    told = list(fleet.told.events)
    await fleet.tick()

    assert "ScaledUp" not in [event[1] for event in told]
    assert fleet.status(SMALL)["desiredReplicas"] == 3
    assert "ScaledUp" in [event[1] for event in fleet.told.events]


async def test_a_broken_object_stops_nobody_else(fleet: Fleet):
    fleet.apply("ModelTier", "broken", {"scaling": {"maxReplicas": "many"}})
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 1


async def test_a_kick_is_answered_before_the_timer(fleet: Fleet):
    running = asyncio.create_task(fleet.loop.run())
    await _until(lambda: "tiers" in fleet.status(CHAT))
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    fleet.loop.kick()
    await _until(lambda: fleet.weights() == {"s": 0, "m": 1000})
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_kick_is_answered_while_prometheus_hangs(fleet: Fleet):
    await fleet.tick()
    fleet.prometheus.hangs = asyncio.Event()
    ticking = asyncio.create_task(fleet.loop.tick())
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    fleet.loop.kick()
    await _until(lambda: fleet.weights() == {"s": 0, "m": 1000})
    still_hanging = not ticking.done()
    fleet.prometheus.hangs.set()
    await ticking

    assert still_hanging


async def test_engines_that_are_full_get_a_look_before_its_time(fleet: Fleet):
    running = asyncio.create_task(fleet.loop.run())
    await _until(lambda: "tiers" in fleet.status(CHAT))
    fleet.in_flight(11.0)
    full = Name("ns", "small")
    fleet.loop.glance(FleetLoad({full: TierLoad(waiting_router=5.0)}, {}, {}))
    await _until(lambda: fleet.status(SMALL)["desiredReplicas"] > 1)  # the next look is 15 s away
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_pass_that_fails_does_not_end_the_loop(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fleet.clock, "now_s", lambda: 1 / 0)
    running = asyncio.create_task(fleet.loop.run())
    await asyncio.sleep(0)
    monkeypatch.undo()
    fleet.loop.kick()
    await _until(lambda: "tiers" in fleet.status(CHAT))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  nothing announces a state
            await asyncio.sleep(0.01)
