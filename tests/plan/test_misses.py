"""Misses though nothing queues: learned by tier, and spent where they spare most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.misses import POWER, Seen, Spender, worth

SMALL = Spender(share=0.65, price=1.0, work_s=0.03, empty=0.12, factor=0.5)
BIG = Spender(share=0.35, price=4.0, work_s=0.07, empty=0.34, factor=0.2)


def missed(tiers: list[Spender], value: float) -> float:
    return sum(tier.share * tier.factor * tier.part(value) ** POWER for tier in tiers)


def test_what_was_seen_takes_over_from_the_prior():
    seen = Seen()
    for _ in range(240):
        seen = seen.after(900.0, missed=18.0, part=0.5, seconds=15.0)

    assert seen.factor == pytest.approx(0.02 / 0.5**POWER, rel=0.05)


def test_what_is_long_past_is_forgotten():
    bad = Seen().after(900.0, missed=450.0, part=0.5, seconds=15.0)

    assert bad.after(0.0, missed=0.0, part=0.5, seconds=3600.0).factor == Seen().factor


def test_the_dear_tier_gets_most_of_the_misses():
    value = worth([SMALL, BIG], 0.01)

    assert missed([SMALL, BIG], value) == pytest.approx(0.01, rel=0.02)
    assert BIG.factor * BIG.part(value) ** POWER > 5 * SMALL.factor * SMALL.part(value) ** POWER


def test_no_replicas_are_bought_for_what_even_an_idle_one_misses():
    hopeless = Spender(share=1.0, price=1.0, work_s=0.03, empty=0.5, factor=100.0)

    assert hopeless.part(worth([hopeless], 0.01)) >= 0.5 / (1 - 0.25 * 0.5)


def test_an_engine_slower_than_the_goal_wants_nothing():
    slow = Spender(share=1.0, price=1.0, work_s=0.03, empty=1.2, factor=0.5)

    assert (slow.part(1.0), slow.replicas(10.0, 1.0)) == (1.0, 0)


@given(st.floats(0.1, 500.0), st.floats(0.002, 0.05))
def test_whole_replicas_are_next_to_the_exact_number_and_never_saturate(rate_rps: float, allowed: float):
    value = worth([BIG], allowed * BIG.share)
    found = BIG.replicas(rate_rps, value)
    exact = rate_rps * BIG.work_s / (1 - BIG.empty / BIG.part(value))

    assert abs(found - exact) < 1
    assert rate_rps * BIG.work_s / found < 1 - BIG.empty


@given(st.floats(0.001, 0.1), st.floats(0.001, 0.1))
def test_more_misses_allowed_never_need_more_replicas(one: float, other: float):
    few, many = sorted((one, other))

    assert SMALL.part(worth([SMALL, BIG], few)) <= SMALL.part(worth([SMALL, BIG], many)) + 1e-6
