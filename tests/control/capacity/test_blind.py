"""The whole loop while metrics are missing, late or incomplete, and when they come back."""

import math

import pytest

from modelfleet import names
from modelfleet.plan.buckets import Buckets
from tests.control.capacity.fleet import CHAT, SMALL, Fleet


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
