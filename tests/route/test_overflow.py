"""A bound on what leaves its tier, whatever comes in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.overflow import WINDOW_S, Share, cause

CAUSES = {
    "would have to wait": (("", 2, False), "Saturated"),
    "its line is full": (("QueueFull", 2, False), "Saturated"),
    "could not answer in time": (("TooLate", 2, False), "Saturated"),
    "our own limit on an API is used up": (("RateLimit", 1, True), "Saturated"),
    "no replica is there": (("NoReplica", 0, False), "Cold"),
    "no replica is there, held for": (("", 0, False), "Cold"),
    "held long enough": (("HoldTimeout", 0, False), "Cold"),
    "all its replicas are out": (("NoReplica", 2, False), "Error"),
    "three attempts failed": (("Attempts", 3, False), "Error"),
    "its retries are used up": (("RetryBudget", 3, False), "Error"),
    "an API has no key": (("NoReplica", 0, True), "Error"),
}


@pytest.mark.parametrize(("seen", "want"), CAUSES.values(), ids=CAUSES)
def test_cause(seen: tuple[str, int, bool], want: str):
    why, replicas, external = seen

    assert cause(why, replicas=replicas, external=external) == want


def _asked(share: Share, requests: int, now_s: float) -> None:
    for _ in range(requests):
        share.request(now_s)


def test_the_first_request_of_all_may_overflow():
    share = Share(20)
    share.request(100.0)

    assert [share.take(100.0) for _ in range(3)] == [True, False, False]


def test_a_fifth_of_a_busy_minute_may_overflow_at_once():
    share = Share(20)
    _asked(share, 100, 100.0)

    assert sum(share.take(130.0) for _ in range(100)) == 20


def test_one_in_five_of_a_quiet_day():
    share, taken = Share(20), 0
    for minute in range(100):
        share.request(100.0 + 90.0 * minute)
        taken += share.take(100.0 + 90.0 * minute)

    assert taken == 20


def test_a_calm_day_is_no_credit_for_a_burst():
    share = Share(20)
    for second in range(1000):
        _asked(share, 10, 100.0 + second)
    later_s = 1100.0 + WINDOW_S
    _asked(share, 10, later_s)

    assert sum(share.take(later_s) for _ in range(100)) == 2


def test_without_requests_there_is_one_overflow_and_no_more():
    share = Share(50)

    assert [share.take(second) for second in (0.0, 1e3, 1e6)] == [True, False, False]
    assert (share.requests, share.overflowed) == (0, 1)


def test_all_of_them_means_all_of_them():
    share = Share(100)
    for second in range(200):
        share.request(float(second))
        assert share.take(float(second))


def test_a_smaller_share_holds_from_now_on():
    share = Share(50)
    _asked(share, 100, 100.0)
    share.percent = 10
    _asked(share, 1, 100.0)

    assert sum(share.take(100.0) for _ in range(100)) == 10


Steps = list[tuple[float, bool]]


@given(st.integers(1, 100), st.lists(st.tuples(st.floats(0.0, 20.0), st.booleans()), max_size=300))
def test_the_share_is_never_exceeded(percent: int, steps: Steps):
    share, now_s = Share(percent), 1000.0
    requests: list[float] = []
    taken: list[float] = []
    for pause_s, asks in steps:
        now_s += pause_s
        if asks:
            share.request(now_s)
            requests.append(now_s)
        elif share.take(now_s):
            taken.append(now_s)
            # Of all requests ever, and in any time: of those in it and in the minute before it.
            assert 100 * len(taken) <= 100 + percent * len(requests)
            for since in range(len(taken)):
                of = sum(at >= taken[since] - WINDOW_S for at in requests)
                assert 100 * (len(taken) - since) <= 100 + percent * of
    assert share.overflowed == len(taken)


@given(st.integers(1, 100), st.lists(st.floats(0.0, 4.0), min_size=1, max_size=300))
def test_a_tier_that_never_takes_any_keeps_its_share_and_wastes_none(percent: int, pauses: list[float]):
    share, now_s = Share(percent), 1000.0
    for pause_s in pauses:
        now_s += pause_s
        share.request(now_s)
        share.take(now_s)

    # One a time, the share is used to the last whole overflow.
    assert share.overflowed >= min(len(pauses), (100 + percent * len(pauses)) // 100 - 1)
