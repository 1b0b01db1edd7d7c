"""The whole loop under what users ask for: pins, modes, schedules, queries, pools."""

import copy

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.plan.asked import Answer
from tests.control.capacity.fleet import CHAT, MEDIUM, SMALL, Fleet


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
