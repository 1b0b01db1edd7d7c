"""All tiers of a cascade sized at once."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.plan.joint import Bound, Option, choose

SMALL = Option("small", carries_rps=30.0, price=1.0, least=1, replicas_min=1, replicas_max=20, now=2)
BIG = Option("big", carries_rps=10.0, price=4.0, least=2, replicas_min=1, replicas_max=10, now=2)


def test_the_dear_tier_gets_what_it_owes_and_the_cheap_one_the_rest():
    found = choose((SMALL, BIG), peak_rps=100.0)

    assert found.replicas == (3, 2)  # 20 of the dear tier's capacity count towards the peak
    assert found.bound == ("Together", "OwnShare")


def test_the_dear_tiers_spare_room_saves_a_cheap_replica():
    assert choose((SMALL, BIG), peak_rps=80.0).replicas == (2, 2)


def test_not_enough_replicas_allowed_gives_all_there_may_be():
    found = choose((SMALL, BIG), peak_rps=5000.0)

    assert not found.feasible
    assert found.replicas == (20, 10)


def test_a_cheap_tier_at_its_end_is_no_reason_for_all_of_the_dear_one():
    found = choose((replace(SMALL, replicas_max=3), replace(BIG, replicas_max=20)), peak_rps=150.0)

    assert found.feasible
    assert found.replicas == (3, 6)
    assert found.bound == ("Maximum", "Together")


def test_a_tier_that_may_run_nothing_leaves_the_rest_to_the_others():
    asleep = replace(SMALL, least=0, replicas_min=0, replicas_max=0, now=0)

    assert choose((asleep, BIG), peak_rps=60.0).replicas == (0, 6)


options = st.builds(
    Option,
    name=st.just("tier"),
    carries_rps=st.floats(1, 100),
    price=st.floats(0.5, 10),
    least=st.integers(0, 9),
    replicas_min=st.integers(0, 2),
    replicas_max=st.integers(3, 8),
    now=st.integers(0, 8),
)


@settings(max_examples=60)
@given(st.lists(options, min_size=1, max_size=3), st.floats(0, 300))
def test_nothing_cheaper_carries_as_much(tiers: list[Option], peak_rps: float):
    found = choose(tiers, peak_rps)
    if not found.feasible:
        return
    cost = sum(n * tier.price for n, tier in zip(found.replicas, tiers, strict=True))
    for counts in itertools.product(*(range(tier.replicas_min, tier.replicas_max + 1) for tier in tiers)):
        carries = [n * tier.carries_rps for n, tier in zip(counts, tiers, strict=True)]
        alone = all(n >= min(tier.least, tier.replicas_max) for n, tier in zip(counts, tiers, strict=True))
        if alone and sum(carries) >= peak_rps:
            cheaper = sum(n * tier.price for n, tier in zip(counts, tiers, strict=True))
            assert cost <= cheaper + max(tier.price for tier in tiers)  # within one replica of the best


def paid(all_: float, *each: float) -> Bound:
    return Bound(each or (1.0, 4.0), all_)


CUTS = {
    "money enough: as without it": (paid(11.0), (3, 2), ("Together", "OwnShare"), "carried"),
    "less: first what is for peaks goes": (paid(9.5), (1, 2), ("Budget", "OwnShare"), "not"),
    "then what the dear tier owes, and its money is for peaks": (
        paid(6.0),
        (2, 1),
        ("Budget", "Budget"),
        "not",
    ),
    "then what the cheap one does, never minimums": (paid(0.0), (1, 1), ("Budget", "Budget"), "not"),
    "a tier that costs it nothing is not cut": (
        paid(8.0, 0.0, 4.0),
        (3, 2),
        ("Together", "OwnShare"),
        "carried",
    ),
    "nor where the others' minimums alone cost too much": (
        paid(1.0, 0.0, 4.0),
        (3, 1),
        ("Together", "Budget"),
        "not",
    ),
}


@pytest.mark.parametrize(("bound", "want", "why", "peak"), CUTS.values(), ids=CUTS)
def test_a_budget_cuts_peaks_first_and_minimums_never(
    bound: Bound, want: tuple[int, ...], why: tuple[str, ...], peak: str
):
    found = choose((SMALL, BIG), 100.0, (bound,))

    assert (found.replicas, found.bound, found.feasible) == (want, why, peak == "carried")


def test_minimums_that_a_budget_does_not_pay_for_carry_what_they_carry():
    tiers = (SMALL, replace(BIG, least=1))
    calm = choose(tiers, 10.0, (paid(0.0),))

    assert calm == replace(choose(tiers, 10.0), most=calm.most)
    assert calm.feasible


def test_it_says_how_many_more_the_money_pays_for():
    assert choose((SMALL, BIG), 100.0, (paid(20.0),)).most == (12, 4)
    assert choose((SMALL, BIG), 100.0, (paid(20.0), paid(12.5))).most == (4, 2)
    assert choose((SMALL, BIG), 100.0).most > (100, 100)


@settings(max_examples=60)
@given(st.lists(options, min_size=1, max_size=3), st.floats(0, 300), st.floats(0, 100))
def test_what_is_bounded_costs_no_more_than_allowed_or_the_least(
    tiers: list[Option], peak: float, money: float
):
    tiers = [replace(tier, replicas_max=max(tier.replicas_max, tier.replicas_min)) for tier in tiers]
    bound = Bound(tuple(tier.price for tier in tiers), money)
    free, found = choose(tiers, peak), choose(tiers, peak, (bound,))

    cost = sum(n * tier.price for n, tier in zip(found.replicas, tiers, strict=True))
    least = sum(min(n, t.replicas_min) * t.price for n, t in zip(free.replicas, tiers, strict=True))
    assert cost <= max(money, least) + 1e-6
    assert all(few <= many for few, many in zip(found.replicas, free.replicas, strict=True))
    assert all(most >= n for most, n in zip(found.most, found.replicas, strict=True))


def test_a_burst_beyond_the_cheap_tier_does_not_fill_the_dear_one():
    cheap = Option("small", 10.0, 1.0, 2, 1, 4, 2)
    dear = Option("big", 5.0, 4.0, 2, 1, 20, 2)

    assert choose([cheap, dear], 100.0, lasting_rps=30.0).replicas == (4, 2)
    assert choose([cheap, dear], 100.0, lasting_rps=60.0).replicas == (4, 4)
    assert choose([cheap, dear], 100.0).replicas == (4, 12)
    assert not choose([cheap, dear], 100.0, lasting_rps=60.0).feasible


@pytest.mark.parametrize("peak_rps", [0.0, 500.0])
def test_many_tiers_are_not_tried_in_every_mixture(peak_rps: float):
    many = [
        Option(f"t{at}", carries_rps=10.0, price=1.0 + at, least=1, replicas_min=1, replicas_max=9, now=1)
        for at in range(40)
    ]
    found = choose(many, peak_rps)

    assert found.feasible
    assert found.replicas[-1] == 1
    assert sum(found.replicas) * 10.0 >= peak_rps
