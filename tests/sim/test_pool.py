"""Pods of one tier."""

from dataclasses import replace
from random import Random

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.fleet import ColdStart, Conditions, Hold, Tier
from modelfleet.sim.pool import Pool
from modelfleet.sim.replica import Job

TIER = Tier("small", PROFILES["8b-h100"], replicas_start=2, cold=ColdStart(0, 10, 90, spread=0.0))


def pool(conditions: Conditions | None = None, *, tier: Tier = TIER) -> Pool:
    return Pool(
        tier,
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


def test_a_new_pod_gets_its_part_step_by_step():
    one = pool()
    for _ in range(80):
        one.take(Job(prompt=10, cached=0, output=500), 1.0, deadline_s=900.0)
    one.scale(3, 1.0)
    one.advance(101.5)
    taken = []
    for at_s in (102.0, 107.0, 120.0):
        one.ramp(at_s)
        for _ in range(20):
            one.take(Job(prompt=10, cached=0, output=500), at_s, deadline_s=900.0)
        taken.append(one.ready[-1].in_flight)

    assert taken[0] < 10
    assert taken[0] < taken[1] < taken[2]
    assert taken[2] > 30


def test_who_waits_for_a_tier_that_sleeps_waits_so_long_and_no_more_than_so_many():
    one = pool(tier=replace(TIER, replicas_start=0, hold=Hold(most=2, seconds=30.0)))
    jobs = [Job(prompt=10, cached=0, output=5) for _ in range(3)]
    told = [one.take(job, float(at), deadline_s=900.0) for at, job in enumerate(jobs)]

    assert told == [None, None, "HoldFull"]
    assert one.sleeps
    assert one.left(30.0, deadline_s=120.0) == jobs[:1]
    assert one.left(30.0, deadline_s=20.0) == jobs[1:2]
