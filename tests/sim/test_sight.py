"""What can be seen of a tier, and when."""

from random import Random

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.fleet import Conditions, Tier
from modelfleet.sim.pool import Pool
from modelfleet.sim.replica import Job
from modelfleet.sim.sight import Sight, in_flight

TIER = Tier("small", PROFILES["8b-h100"], replicas_start=1)


@pytest.fixture
def pool() -> Pool:
    return Pool(TIER, Conditions(), Random(1), on_first=lambda *_: None, on_done=lambda *_: None, wake=lambda _: None)  # fmt: skip


def test_gauges_are_those_of_the_scrape_that_has_arrived(pool: Pool):
    sight = Sight([pool], Conditions(scrape_s=5.0, lag_s=5.0))
    sight.scraped(5.0)
    pool.take(Job(prompt=10, cached=0, output=50), 6.0, deadline_s=100.0)
    sight.came(0, 6.0)
    sight.scraped(10.0)

    (early,) = sight.tiers(12.0)
    sight.scraped(15.0)
    (late,) = sight.tiers(15.0)

    assert (in_flight(pool), early.in_flight, late.in_flight) == (1, 0, 1)
    assert early.quiet_s == 0.0  # a router says so itself, at once
    assert [(pod.number, pod.ready_s) for pod in late.pods] == [(0, 0.0)]


def test_a_tier_is_quiet_since_its_last_request(pool: Pool):
    sight = Sight([pool], Conditions())
    sight.came(0, 30.0)

    (seen,) = sight.tiers(100.0)

    assert seen.quiet_s == 70.0
