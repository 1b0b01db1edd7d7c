import asyncio
import copy
import math
from collections.abc import Callable

import pytest

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.capacity_status import timestamp
from modelfleet.plan.asked import Answer
from modelfleet.plan.buckets import Buckets
from tests.control.capacity_fleet import CHAT, MEDIUM, SMALL, Fleet


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


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


async def test_a_pin_decides_until_it_is_removed(fleet: Fleet):
    await fleet.tick()
    fleet.annotate(SMALL, names.ANNOTATION_PIN_REPLICAS, "4")
    fleet.annotate(MEDIUM, names.ANNOTATION_PIN_REPLICAS, "2")
    fleet.annotate(CHAT, names.ANNOTATION_PIN_WEIGHTS, "m=1")
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 4
    assert fleet.status(SMALL)["lastScale"]["reason"] == "Pinned"
    assert fleet.condition(SMALL) == fleet.condition(MEDIUM) == ("False", "Pinned")
    assert fleet.weights() == {"s": 0, "m": 1000}
    assert fleet.status(CHAT)["lastDecision"]["reason"] == "Pinned"

    fleet.annotate(SMALL, names.ANNOTATION_PIN_REPLICAS, None)
    fleet.annotate(CHAT, names.ANNOTATION_PIN_WEIGHTS, None)
    await fleet.tick()

    assert fleet.condition(SMALL) == ("True", "FollowsMetrics")
    assert fleet.status(SMALL)["desiredReplicas"] == 4  # until the window of scaleDown has passed
    assert fleet.weights() == {"s": 1000, "m": 0}


async def test_a_pin_that_cannot_be_read_changes_nothing(fleet: Fleet):
    await fleet.tick()
    written = len(fleet.store.writes)
    fleet.annotate(SMALL, names.ANNOTATION_PIN_REPLICAS, "many")
    fleet.annotate(CHAT, names.ANNOTATION_PIN_WEIGHTS, "huge=1")
    await fleet.tick()

    assert len(fleet.store.writes) == written


async def test_observing_says_what_it_would_do_and_does_nothing(fleet: Fleet):
    await fleet.tick()
    fleet.respec(SMALL, mode="Observe")
    fleet.in_flight(11.0)
    for _ in range(3):
        await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 1
    assert fleet.condition(SMALL) == ("False", "Observing")
    plan = fleet.status(SMALL)["scaling"]
    assert (plan["wouldBe"], plan["reason"]) == (3, "ConcurrencyAboveTarget")
    labels = {"fleet_namespace": "ns", "model_tier": "small"}
    name = "modelfleet_operator_would_be_replicas"
    assert fleet.registry.get_sample_value(name, labels) == 3

    fleet.respec(SMALL, mode="Auto")
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 3
    assert fleet.store.writes[-1][1].get("scaling") is None
    assert fleet.registry.get_sample_value(name, labels) is None


async def test_a_schedule_raises_the_floor_while_it_runs(fleet: Fleet):
    await fleet.tick()
    fleet.respec(
        SMALL, schedules=[{"cron": "0 8 * * *", "duration": "10h", "timeZone": "UTC", "minReplicas": 3}]
    )
    await fleet.tick()
    before = fleet.status(SMALL)["desiredReplicas"], fleet.verdict(SMALL, "Scheduled")
    fleet.clock.now = 8 * 3600.0
    await fleet.tick()
    during = fleet.status(SMALL)["desiredReplicas"], fleet.verdict(SMALL, "Scheduled")
    fleet.clock.now = 18 * 3600.0
    for _ in range(4):
        await fleet.tick()
    after = fleet.status(SMALL)["desiredReplicas"], fleet.verdict(SMALL, "Scheduled")

    assert before == (1, "False/NoScheduleRuns")
    assert during == (3, "True/ScheduleRuns")
    assert after == (1, "False/NoScheduleRuns")


async def test_a_schedule_that_cannot_be_read_is_said_and_the_others_hold(fleet: Fleet):
    always = {"cron": "0 * * * *", "duration": "1h", "timeZone": "UTC", "minReplicas": 2}
    fleet.respec(
        SMALL, schedules=[always, {**always, "cron": "0 8 31 6 *"}, {**always, "timeZone": "Mars/Base"}]
    )
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 2
    condition = next(c for c in fleet.status(SMALL)["conditions"] if c["type"] == "Scheduled")
    assert (condition["status"], condition["reason"]) == ("True", "InvalidSchedule")
    assert condition["message"] == (
        "Schedules that never run, while others hold: cron 0 8 31 6 *: Bad day-of-month; timeZone Mars/Base: no such time zone"
    )


async def test_a_query_of_the_users_own_decides_and_is_blamed_when_it_gives_nothing(fleet: Fleet):
    mine = {"name": "mine", "type": "PromQL", "query": "sum(jobs)", "target": "2.5"}
    busy = {"name": "busy", "type": "Concurrency", "target": 4}
    fleet.respec(SMALL, metrics=[busy, mine])
    fleet.asked.answers["sum(jobs)"] = Answer(9.0)
    await fleet.tick()
    grown = fleet.status(SMALL)["desiredReplicas"], fleet.status(SMALL)["lastScale"]["reason"]
    fleet.asked.answers["sum(jobs)"] = Answer(problem="1:4: parse error: unclosed left parenthesis")
    for _ in range(20):
        await fleet.tick()

    assert grown == (4, "PromQLAboveTarget")
    assert fleet.status(SMALL)["desiredReplicas"] == 4
    condition = fleet.status(SMALL)["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("True", "MetricsPartlyStale")
    assert condition["message"] == (
        "No fresh and complete value of mine (1:4: parse error: unclosed left parenthesis); not shrinking"
    )

    fleet.in_flight(20.0)
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 5  # the other metric still decides to grow
    assert fleet.condition(SMALL) == (
        "True",
        "MetricsPartlyStale",
    )  # and that one is blind is said all the same


async def test_a_threshold_is_chosen_published_and_kept_while_blind(fleet: Fleet):
    tiers = [
        {"name": "s", "tierRef": {"name": "small"}, "targetShare": 70, "accept": {"signal": "MeanLogprob"}},
        {"name": "m", "tierRef": {"name": "medium"}},
    ]
    fleet.apply("Cascade", "chat", {"modelName": "chat", "tiers": tiers})
    await fleet.tick()
    at_first = fleet.status(CHAT)["tiers"][0]["threshold"]
    fleet.scores(Buckets((-1.0, 0.0, math.inf), (0.0, 1000.0, 1000.0)))
    await fleet.tick()
    chosen = fleet.status(CHAT)["tiers"][0]["threshold"]
    labels = {"fleet_namespace": "ns", "cascade": "chat", "tier": "s"}
    shown = fleet.registry.get_sample_value("modelfleet_operator_accept_threshold", labels)
    fleet.prometheus.answer = None
    for _ in range(10):
        await fleet.tick()

    assert (at_first, chosen, shown) == ("-1000", "-0.7", -0.7)
    assert fleet.status(CHAT)["tiers"][0]["threshold"] == "-0.7"
    assert "threshold" not in fleet.status(CHAT)["tiers"][1]


async def test_a_node_pool_has_an_end(fleet: Fleet):
    fleet.settings = FleetSettings.model_validate({"nodePools": {"gpu": {"maxUnits": 7}}})
    for name, count in (("small", 2), ("medium", 1)):
        fleet.respec_tier(name, nodePool={"name": "gpu", "count": count})
    fleet.in_flight(19.0)
    for _ in range(3):
        await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 3  # of two units each; medium has a size of one
    assert fleet.condition(SMALL) == ("True", "PoolLimit")
    value = fleet.registry.get_sample_value
    assert value("modelfleet_operator_node_pool_units", {"node_pool": "gpu"}) == 7
    assert value("modelfleet_operator_node_pool_units_max", {"node_pool": "gpu"}) == 7

    bad = {"name": "bad", "type": "PromQL", "query": "jobs", "target": "2"}
    fleet.asked.answers["jobs"] = Answer(problem="it gives nothing")
    fleet.respec(SMALL, metrics=[{"name": "busy", "type": "Concurrency", "target": 4}, bad])
    for _ in range(2):
        await fleet.tick()

    condition = fleet.status(SMALL)["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("True", "PoolLimit")
    assert "no fresh and complete value of bad (it gives nothing)" in condition["message"].lower()

    fleet.settings = FleetSettings()
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 5
    assert value("modelfleet_operator_node_pool_units", {"node_pool": "gpu"}) is None


async def test_metrics_lost_for_long_fall_back_to_what_was_asked_for(fleet: Fleet):
    fleet.respec(SMALL, fallback={"behavior": "AtLeast", "replicas": 4, "after": "1m"})
    await fleet.tick()
    fleet.prometheus.answer = None
    seen = []
    for _ in range(8):
        await fleet.tick()
        seen.append(fleet.status(SMALL)["desiredReplicas"])

    assert seen[:4] == [1, 1, 1, 1]
    assert seen[-3:] == [4, 4, 4]
    assert fleet.condition(SMALL) == ("False", "Fallback")


async def test_an_outage_of_metrics_holds_and_says_so(fleet: Fleet):
    fleet.in_flight(11.0)
    await fleet.tick()
    fleet.prometheus.answer = None
    await fleet.tick()
    after_one = fleet.condition(SMALL)
    for _ in range(20):
        await fleet.tick()

    assert after_one == ("True", "FollowsMetrics")
    assert fleet.condition(SMALL) == ("False", "MetricsStale")
    assert fleet.status(SMALL)["desiredReplicas"] == 3
    assert fleet.status(CHAT)["tiers"][0]["answeredShare"] == 700


async def test_metrics_that_come_back_start_the_window_again(fleet: Fleet):
    fleet.in_flight(11.0)
    await fleet.tick()
    fleet.prometheus.answer = None
    for _ in range(20):
        await fleet.tick()
    fleet.in_flight(1.0)
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 3
    assert fleet.condition(SMALL) == ("True", "FollowsMetrics")


@pytest.mark.parametrize(("age_s", "routers"), [(120.0, 1), (3.0, 0)], ids=["stale", "a router is missing"])
async def test_numbers_that_prove_nothing_hold(fleet: Fleet, age_s: float, routers: int):
    fleet.in_flight(11.0)
    await fleet.tick()
    fleet.in_flight(0.0, age_s=age_s, routers=routers)
    for _ in range(20):
        await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 3
    assert fleet.condition(SMALL) == ("False", "MetricsStale")


async def test_when_nobody_measures_nothing_scales_and_weights_still_follow_readiness(fleet: Fleet):
    fleet.prometheus.answer = None
    await fleet.tick()
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    await fleet.tick()

    assert fleet.condition(SMALL) == ("False", "MetricsStale")
    assert fleet.weights() == {"s": 0, "m": 1000}


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


async def test_a_deleted_tier_is_forgotten_and_its_cascade_goes_on(fleet: Fleet):
    await fleet.tick()
    del fleet.store.objects[SMALL]
    await fleet.tick()

    assert fleet.weights() == {"s": 0, "m": 1000}
    labels = {"fleet_namespace": "ns", "model_tier": "small"}
    assert fleet.registry.get_sample_value("modelfleet_operator_desired_replicas", labels) is None


async def test_a_suspended_tier_keeps_its_last_number_and_gets_no_entries(fleet: Fleet):
    fleet.in_flight(11.0)
    await fleet.tick()
    small = copy.deepcopy(fleet.store.objects[SMALL])
    small["spec"]["suspend"] = True
    fleet.store.put(small)
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 3
    assert fleet.condition(SMALL) == ("False", "Suspended")
    assert fleet.weights() == {"s": 0, "m": 1000}


async def test_a_tier_that_no_cascade_uses_says_so(fleet: Fleet):
    del fleet.store.objects[CHAT]
    await fleet.tick()

    assert fleet.condition(SMALL) == ("False", "NotRouted")


async def test_scaling_taken_away_releases_the_decision(fleet: Fleet):
    fleet.in_flight(11.0)
    await fleet.tick()
    small = copy.deepcopy(fleet.store.objects[SMALL])
    del small["spec"]["scaling"]
    fleet.store.put(small)
    await fleet.tick()

    key, status = fleet.store.writes[-1]
    assert key == SMALL
    assert set(status) == {"conditions"}


async def test_an_external_tier_is_ready_unless_it_says_not(fleet: Fleet):
    spec = {"external": {"baseURL": "https://api.example.com/v1", "model": "big"}}
    fleet.apply("ModelTier", "medium", spec)
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), ready=False)
    await fleet.tick()
    open_for_it = fleet.weights()
    no_key = {"type": "Ready", "status": "False", "reason": "NoKey", "lastTransitionTime": timestamp(0)}
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"))
    fleet.apply("ModelTier", "medium", spec, status={"conditions": [no_key]})
    await fleet.tick(after_s=60.0)

    assert open_for_it == {"s": 0, "m": 1000}
    assert fleet.weights() == {"s": 1000, "m": 0}


async def test_a_look_is_told_how_long_ago_the_last_one_that_found_something_was(fleet: Fleet):
    await fleet.tick()
    await fleet.tick(after_s=12.0)
    answers, fleet.prometheus.answer = fleet.prometheus.answer, None
    await fleet.tick(after_s=15.0)
    fleet.prometheus.answer = answers
    await fleet.tick(after_s=15.0)
    after_a_loss = fleet.prometheus.since_s
    await fleet.tick(after_s=10_000.0)

    assert (after_a_loss, fleet.prometheus.since_s) == (30.0, 600.0)


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
