"""All tiers of a cascade sized at once."""

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.plan.joint import Option, choose

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
