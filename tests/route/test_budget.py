"""A failing tier does not get more to do because it fails."""

from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.budget import AT_LEAST, SHARE, WINDOW_S, RetryBudget

STEP_S = WINDOW_S / 12


def test_quiet_tier_may_retry_a_little():
    budget = RetryBudget()
    budget.request(100.0)

    assert [budget.retry(100.0) for _ in range(5)] == [True] * AT_LEAST + [False] * 2


def test_a_fifth_of_many_requests_may_be_retried():
    budget = RetryBudget()
    for _ in range(100):
        budget.request(100.0)

    assert sum(budget.retry(101.0) for _ in range(100)) == 20


def test_what_is_old_earns_nothing():
    budget = RetryBudget()
    for _ in range(100):
        budget.request(100.0)

    assert sum(budget.retry(100.0 + WINDOW_S) for _ in range(100)) == AT_LEAST
    assert budget.requests == 0


def test_refused_retries_cost_nothing():
    budget = RetryBudget()
    for _ in range(50):
        budget.retry(100.0)

    assert (budget.requests, budget.retries) == (0, AT_LEAST)


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.booleans()), max_size=200))
def test_budget_is_never_exceeded(steps: list[tuple[float, bool]]):
    budget, now_s = RetryBudget(), 1000.0
    requests: list[float] = []
    retries: list[float] = []
    for pause_s, is_retry in steps:
        now_s += pause_s
        if not is_retry:
            budget.request(now_s)
            requests.append(now_s)
        elif budget.retry(now_s):
            retries.append(now_s)
            first = int(now_s // STEP_S) - 11
            counted = [sum(at // STEP_S >= first for at in times) for times in (requests, retries)]
            assert (budget.requests, budget.retries) == tuple(counted)
            assert counted[1] <= max(AT_LEAST, SHARE * counted[0])
