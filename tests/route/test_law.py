"""Entries move within a second, within the user's bounds, and what the dear tier owes is paid."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.bank import Bank
from modelfleet.route.law import Law, Side, bounded

CHEAP = Side(entered=0, answered=0, in_flight=0, ready=4, carries_rps=20.0, under_way=40.0)
DEAR = replace(CHEAP, ready=3, carries_rps=10.0, under_way=20.0)


def seconds(
    rate_rps: float, count: int, *, cheap: Side = CHEAP, dear: Side = DEAR, target: float = 0.3
) -> list[float]:
    """The last shares, when every request is answered where it entered."""
    law, entered = Law(), [0.0, 0.0]
    shares = law.second([cheap, dear], target=target)
    for _ in range(count):
        entered = [total + rate_rps * share for total, share in zip(entered, shares, strict=True)]
        sides = [
            replace(side, entered=round(total), answered=round(total))
            for side, total in zip((cheap, dear), entered, strict=True)
        ]
        shares = law.second(sides, target=target)
    return [total / sum(entered) for total in entered] if count else shares


def test_before_the_first_request_the_target_holds():
    assert seconds(0.0, 0) == [0.7, 0.3]


def test_in_a_calm_hour_the_dear_tier_gets_its_share():
    assert seconds(80.0, 3600)[1] == pytest.approx(0.3, abs=0.02)


def test_what_the_cheap_tier_cannot_take_goes_up():
    gone = seconds(80.0, 30, cheap=replace(CHEAP, ready=0))

    assert gone[1] > 0.8


def test_a_dear_tier_without_replicas_is_spared():
    assert seconds(60.0, 30, dear=replace(DEAR, ready=0, shut=True))[1] == 0.0
    # Where nothing answers at all it is no matter of entries.
    assert sum(seconds(60.0, 30, cheap=replace(CHEAP, shut=True), dear=replace(DEAR, shut=True))) == 1.0


def test_no_bound_sends_requests_where_nothing_answers():
    # Who may not enter the tier that is left is better answered by it than sent to one that is dead.
    gone = replace(CHEAP, ready=0, shut=True, least=0.5)

    assert seconds(60.0, 3, cheap=gone, dear=replace(DEAR, most=0.0)) == [0.0, 1.0]


def test_the_users_bounds_hold_whatever_the_law_wants():
    capped = seconds(80.0, 60, cheap=replace(CHEAP, ready=0), dear=replace(DEAR, most=0.4))

    assert capped[1] == pytest.approx(0.4, abs=0.05)


def test_what_came_before_the_law_is_none_of_its_matter():
    law = Law()
    law.second([replace(CHEAP, entered=10**6, answered=10**6), DEAR], target=0.3)

    assert law.bank.balance == 0.0
    assert law.rate_rps == 0.0


def test_the_account_of_all_is_divided_among_those_that_are_there():
    law = Law(Bank(balance=-600.0, hour=36_000.0))
    law.among(4)
    assert law.bank == Bank(-150.0, 9_000.0)

    law.among(4)
    law.among(3)  # one ended, and the others get its requests

    assert law.bank == Bank(-200.0, 12_000.0)


CASES = {
    "within: as they are": ([0.7, 0.3], [0.0, 0.0], [1.0, 1.0], [0.7, 0.3]),
    "above its most": ([0.2, 0.8], [0.0, 0.0], [1.0, 0.1], [0.9, 0.1]),
    "below its least": ([0.9, 0.1], [0.0, 0.5], [1.0, 1.0], [0.5, 0.5]),
    "what is left is shared by room": ([1.0, 0.0, 0.0], [0, 0, 0], [0.4, 0.8, 0.4], [0.4, 0.4, 0.2]),
    "bounds that cannot be met": ([0.5, 0.5], [0.0, 0.0], [0.2, 0.2], [0.5, 0.5]),
}


@pytest.mark.parametrize(("shares", "least", "most", "want"), CASES.values(), ids=CASES)
def test_bounded(shares: list[float], least: list[float], most: list[float], want: list[float]):
    assert bounded(shares, least, most) == pytest.approx(want)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3), st.floats(0.3, 1)), min_size=1, max_size=8))
def test_shares_always_sum_to_one(rows: list[tuple[float, float, float]]):
    found = bounded([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])

    assert sum(found) == pytest.approx(1.0)
    assert all(share >= 0 for share in found)


@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 400), st.integers(0, 5)),
        min_size=1,
        max_size=40,
    ),
    st.floats(0, 1),
)
def test_whatever_happens_shares_are_shares(rows: list[tuple[int, int, int, int]], target: float):
    law, entered = Law(), 0
    for came, answered, flying, ready in rows:
        entered += came
        cheap = replace(CHEAP, entered=entered, answered=answered, in_flight=flying, ready=ready)
        shares = law.second([cheap, replace(DEAR, in_flight=flying, ready=ready)], target=target)
        assert sum(shares) == pytest.approx(1.0)
        assert all(0 <= share <= 1 for share in shares)
