"""A replica that fails goes out, is probed, and comes back slowly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import health
from modelfleet.route.health import FAILURES_IN_ROW, GOOD_PROBES, OUT_S, RETURN_S, Health

NOW_S = 1000.0
LIMIT = 5


def _out(*, spin: float = 0.0, at_least_s: float = 0.0) -> Health:
    sick = Health()
    sick.take_out("ConsecutiveFailures", now_s=NOW_S, spin=spin, at_least_s=at_least_s)
    return sick


HISTORIES = {
    "a few failures: stays": ("-" * (FAILURES_IN_ROW - 1), None),
    "failures in a row: goes": ("-" * FAILURES_IN_ROW, "ConsecutiveFailures"),
    "a good answer between them: stays": ("----+----", None),
    "every second one fails: goes": ("+-" * 10, "FailureRatio"),
    "every third one fails: stays": ("++-" * 40, None),
    "half of a few fail: stays": ("+-" * 8, None),
}


@pytest.mark.parametrize(("history", "want"), HISTORIES.values(), ids=HISTORIES)
def test_when_to_take_out(history: str, want: str | None):
    replica, why = Health(), None
    replica.failed(NOW_S)  # the window begins
    replica.succeeded(NOW_S)
    for number, sign in enumerate(history):
        if sign == "+":
            replica.succeeded(NOW_S + number / 100)
        else:
            why = replica.failed(NOW_S + number / 100)

    assert why == want


def test_old_failures_are_forgotten():
    replica = Health()
    for _ in range(9):
        replica.failed(NOW_S)
        replica.succeeded(NOW_S)

    assert replica.failed(NOW_S + health.WINDOW_S + 1) is None


def test_way_back():
    replica = _out()
    probe_s = NOW_S + OUT_S

    assert replica.room(LIMIT, probe_s - 0.1) == 0
    assert (replica.room(LIMIT, probe_s), replica.state) == (1, "Probing")
    for _ in range(GOOD_PROBES):
        replica.succeeded(probe_s)
    assert [replica.room(100, probe_s + second) for second in range(8)] == [2, 4, 8, 16, 32, 64, 100, 100]
    assert (replica.room(LIMIT, probe_s + RETURN_S), replica.state, replica.reason) == (LIMIT, "In", "")


def test_probe_that_fails_puts_it_out_for_longer():
    replica = _out()
    replica.room(LIMIT, NOW_S + OUT_S)

    assert replica.failed(NOW_S + OUT_S) == "ProbeFailed"
    replica.take_out("ProbeFailed", now_s=NOW_S + OUT_S, spin=0.0)
    assert replica.until_s == NOW_S + OUT_S + 2 * OUT_S


def test_requests_of_before_do_not_put_it_out_again():
    replica = _out()

    assert [replica.failed(NOW_S) for _ in range(20)] == [None] * 20


SPANS = {
    "by itself": ({}, OUT_S),
    "spread": ({"spin": 0.5}, OUT_S * 1.1),
    "as the API asks": ({"at_least_s": 30.0}, 30.0),
    "not shorter than by itself": ({"at_least_s": 1.0}, OUT_S),
    "not for ever": ({"at_least_s": 1e9}, health.RETRY_AFTER_MAX_S),
}


@pytest.mark.parametrize(("how", "want_s"), SPANS.values(), ids=SPANS)
def test_how_long_it_is_out(how: dict[str, float], want_s: float):
    assert _out(**how).until_s - NOW_S == pytest.approx(want_s)


def _failed(fault: str, reason: str = "ConsecutiveFailures") -> Health:
    found = Health()
    found.fault = fault
    found.take_out(reason, now_s=NOW_S, spin=0.0)
    return found


KNOCKS = {
    "nothing is known of it": (Health(), 0.0, True),
    "it could not be reached, and rests": (_failed("TLS"), OUT_S - 0.1, False),
    "it could not be reached, and has rested": (_failed("TLS"), OUT_S, True),
    "it was reached and failed": (_failed("Status5xx"), OUT_S, False),
}


@pytest.mark.parametrize(("found", "after_s", "want"), KNOCKS.values(), ids=KNOCKS)
def test_knocks(found: Health, after_s: float, want: bool):  # noqa: FBT001 - a row
    assert found.wants_knock(NOW_S + after_s) is want


def test_one_that_answers_is_not_knocked_at():
    found = Health()
    found.succeeded(NOW_S)

    assert not found.wants_knock(NOW_S)


OUTAGES = {
    "well": (Health(), ""),
    "could not be reached": (_failed("TLS"), "TLS"),
    "asked for rest": (_failed("RateLimited", health.RESTS), ""),
}


@pytest.mark.parametrize(("found", "want"), OUTAGES.values(), ids=OUTAGES)
def test_outage(found: Health, want: str):
    assert found.outage() == want


def test_one_that_can_be_reached_again_is_probed():
    found = _failed("TLS")

    assert found.reached(NOW_S + OUT_S)
    assert (found.state, found.outage(), found.room(100, NOW_S + OUT_S)) == ("Probing", "", 1)
    assert not found.reached(NOW_S + OUT_S)


JUDGED = {
    "an answer": ("Answered", False, True),
    "an answer that was not good enough for us": ("Escalated", False, True),
    "a crash": ("Status5xx", False, False),
    "a cut connection": ("Reset", False, False),
    "silence": ("Timeout", False, False),
    "a busy engine": ("RateLimited", False, None),
    "an external API's limit": ("RateLimited", True, False),
    "the client left": ("Cancelled", False, None),
    "the client's deadline": ("Deadline", True, None),
}


@pytest.mark.parametrize(("outcome", "external", "want"), JUDGED.values(), ids=JUDGED)
def test_what_an_outcome_says(outcome: str, external: bool, want: bool | None):  # noqa: FBT001 - a row
    assert health.judge(outcome, external=external) is want


@given(st.integers(0, 50))
def test_at_most_half_may_leave(total: int):
    out = 0
    while health.may_leave(out=out, total=total):
        out += 1

    assert out == total // 2


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.sampled_from("+-?"))), st.integers(1, 300))
def test_room_is_never_more_than_the_limit_and_comes_back(steps: list[tuple[float, str]], limit: int):
    replica, now_s = Health(), NOW_S
    for pause_s, event in steps:
        now_s += pause_s
        if event == "+":
            replica.succeeded(now_s)
        elif event == "-" and (why := replica.failed(now_s)):
            replica.take_out(why, now_s=now_s, spin=0.5)
        assert 0 <= replica.room(limit, now_s) <= limit
        assert (replica.room(limit, now_s) == 0) == (replica.state == "Out")
    # Whatever happened: with good answers it is back within a bounded time.
    for _ in range(40):
        now_s += 10.0
        replica.room(limit, now_s)
        replica.succeeded(now_s)
    assert replica.room(limit, now_s) == limit
