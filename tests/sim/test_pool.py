"""Pods of one tier."""

from random import Random

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.fleet import ColdStart, Conditions, Tier
from modelfleet.sim.pool import Pool
from modelfleet.sim.replica import Job

TIER = Tier("small", PROFILES["8b-h100"], replicas_start=2, cold=ColdStart(0, 10, 90, spread=0.0))


def pool(conditions: Conditions | None = None) -> Pool:
    return Pool(
        TIER,
        conditions or Conditions(),
        Random(1),
        on_first=lambda _job, _at_s: None,
        on_done=lambda _job, _at_s: None,
        wake=lambda _replica: None,
    )


def test_a_pod_is_ready_after_its_cold_start_and_paid_from_its_order():
    one = pool()
    one.scale(3, 0.0)
    one.advance(99.0)
    before = len(one.ready)
    one.advance(101.0)

    assert (before, len(one.ready), one.cold_starts_s) == (2, 3, [100.0])
    assert one.replica_s == 3 * 101.0


def test_pods_that_start_go_first():
    one = pool()
    one.scale(4, 0.0)
    one.scale(2, 10.0)

    assert (len(one.ready), len(one.starting), len(one.draining)) == (2, 0, 0)


def test_a_pod_that_goes_is_paid_until_it_has_answered():
    one = pool()
    for _ in range(2):
        one.take(Job(prompt=10, cached=0, output=50), 0.0, deadline_s=60.0)
    one.scale(1, 1.0)
    one.advance(2.0)

    assert len(one.draining) == 1
    assert one.replica_s == 4.0


def test_a_dead_pod_is_replaced_and_loses_what_it_had():
    one = pool()
    one.take(Job(prompt=10, cached=0, output=50), 0.0, deadline_s=60.0)
    lost = one.kill(1.0)

    assert len(lost) == 1
    assert (len(one.ready), len(one.starting)) == (1, 1)


def test_starts_that_fail_take_longer():
    one = pool(Conditions(start_failures=0.9))
    one.scale(3, 0.0)

    assert one.starting[0].ready_s > 150
