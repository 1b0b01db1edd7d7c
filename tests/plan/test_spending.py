"""The ledger: counts once, never back, and begins again with the window."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.budget import Window
from modelfleet.plan.spending import (
    KEEP_S,
    Charge,
    Counted,
    Ledger,
    Told,
    after,
    decode,
    encode,
    owed,
    share_of,
    window_of,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
OWN = Charge("small", per_hour=2.0, replicas=3, least=1)
API = Charge("gpt", per_hour=0.0, replicas=0, least=0, by_token=True)


Heard = tuple[float, dict[str, Told]]  # seconds after noon


def told(dollars: float, *, began_s: float = NOON - 3600, own: float = 0.0, every: float = 0.0) -> Told:
    return Told(began_s, {"gpt": dollars}, {"small": own}, {"small": every})


def run(*steps: Heard, charges: tuple[Charge, ...] = (API,)) -> Ledger:
    ledger = Ledger()
    for at_s, heard in steps:
        ledger = after(ledger, "Day", charges, heard, NOON + at_s)
    return ledger


WINDOWS = {
    "an hour": ("Hour", "2026-11-22T12:34:56", "2026-11-22T12:00:00", "2026-11-22T13:00:00"),
    "a day": ("Day", "2026-11-22T12:34:56", "2026-11-22T00:00:00", "2026-11-23T00:00:00"),
    "the first second of a day": ("Day", "2026-11-22T00:00:00", "2026-11-22T00:00:00", "2026-11-23T00:00:00"),
    "a month": ("Month", "2026-11-22T12:34:56", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
    "the last month of a year": (
        "Month",
        "2026-12-31T23:59:59",
        "2026-12-01T00:00:00",
        "2027-01-01T00:00:00",
    ),
    "a leap year's February": ("Month", "2028-02-29T12:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
}


@pytest.mark.parametrize(("kind", "now", "start", "end"), WINDOWS.values(), ids=WINDOWS)
def test_windows_are_the_calendar_s(kind: Window, now: str, start: str, end: str):
    def at(text: str) -> float:
        return datetime.fromisoformat(f"{text}+00:00").timestamp()

    assert window_of(kind, at(now)) == (at(start), at(end))


def test_replicas_cost_by_the_hour():
    ledger = run((0, {}), (900, {}), (1800, {}), charges=(OWN,))

    assert ledger.spent == {"small": pytest.approx(3.0)}


HEARD = {
    "what stood there before the budget does not count": ([(0, {"a": told(5.0)})], 0.0),
    "nor what a router counted that was silent then": ([(0, {}), (15, {"a": told(5.0)})], 0.0),
    "what came since does": ([(0, {"a": told(5.0)}), (15, {"a": told(5.5)})], 0.5),
    "a silent router is heard of later": (
        [(0, {"a": told(5.0)}), (15, {}), (300, {"a": told(6.0)})],
        1.0,
    ),
    "a router that began since counts from zero": (
        [(0, {"a": told(5.0)}), (60, {"a": told(5.0), "b": told(0.25, began_s=NOON + 30)})],
        0.25,
    ),
    "as does one that was still starting when the budget was set": (
        [(0, {}), (60, {"a": told(0.25, began_s=NOON - 5)})],
        0.25,
    ),
    "so does a new process of the same pod, however much it has counted": (
        [(0, {"a": told(5.0)}), (60, {"a": told(7.0, began_s=NOON + 30)})],
        7.0,
    ),
    "and a counter that begins anew in the same process": (
        [(0, {"a": told(5.0)}), (60, {"a": told(0.5)})],
        0.5,
    ),
    "an old process that nobody remembers may be counted already": (
        [(0, {"a": told(5.0)}), (KEEP_S + 60, {}), (KEEP_S + 75, {"b": told(9.0, began_s=NOON + 1)})],
        0.0,
    ),
    "two routers add up": (
        [(0, {"a": told(1.0), "b": told(2.0)}), (15, {"a": told(1.5), "b": told(2.25)})],
        0.75,
    ),
}


@pytest.mark.parametrize(("steps", "want"), HEARD.values(), ids=HEARD)
def test_tokens_cost_what_routers_counted(steps: list[Heard], want: float):
    assert run(*steps).total == pytest.approx(want)


def test_a_window_turn_begins_at_zero_and_divides_the_pause():
    ledger = run((0, {"a": told(5.0)}), (11.5 * 3600, {"a": told(6.0)}))
    turned = after(ledger, "Day", (API, OWN), {"a": told(8.0)}, NOON + 12.5 * 3600)

    assert turned.start_s == turned.since_s == NOON + 12 * 3600
    assert turned.spent == {
        "gpt": pytest.approx(1.0),
        "small": pytest.approx(3.0),
    }  # half an hour of the hour


@pytest.mark.parametrize("ahead_s", [7200.0, 30 * 86_400.0, 40 * 365 * 86_400.0])
def test_a_clock_that_was_far_ahead_binds_nobody(ahead_s: float):
    """A node that booted in 2066 must not have spent the money of all years until then."""
    ahead = run((0, {"p": told(5.0)}), (ahead_s, {"p": told(7.0)}), charges=(API, OWN))

    mended = after(ahead, "Day", (API, OWN), {"p": told(8.0)}, NOON + 60)
    later = after(mended, "Day", (API, OWN), {"p": told(9.5)}, NOON + 120)

    assert (mended.total, mended.at_s, mended.start_s) == (0.0, NOON + 60, NOON - 43_200)
    assert later.spent["gpt"] == 1.5


def test_a_clock_that_is_set_back_a_little_counts_nothing_twice():
    ledger = run((0, {"p": told(5.0)}), (600, {"p": told(7.0)}))

    assert after(ledger, "Day", (API,), {"p": told(8.0)}, NOON + 30) == ledger


def test_a_longer_window_keeps_what_the_shorter_one_has():
    ledger = run((0, {"a": told(5.0)}), (15, {"a": told(6.0)}))

    month = after(ledger, "Month", (API,), {}, NOON + 30)
    hour = after(month, "Hour", (API,), {}, NOON + 4000)
    assert month.total == 1.0
    assert (hour.total, hour.since_s) == (0.0, NOON + 3600)


def test_a_shared_tier_is_divided_by_requests():
    shared = replace(OWN, users=2)
    ledger = run((0, {"a": told(0.0)}), charges=(shared,))
    assert share_of(ledger, shared) == 0.5  # nobody has asked yet

    ledger = after(ledger, "Day", (shared,), {"a": told(0.0, own=30.0, every=40.0)}, NOON + 3600)
    assert share_of(ledger, shared) == 0.75
    assert ledger.spent == {"small": pytest.approx(0.75 * 6.0)}
    assert owed(ledger, (shared,), 3600) == pytest.approx(0.75 * 2.0)


def test_the_rate_is_the_last_hour_s():
    ledger = run((0, {}), (60, {}), charges=(OWN,))
    assert ledger.per_hour == pytest.approx(6.0)  # not a sixtieth of it

    for minute in range(2, 240):
        ledger = after(ledger, "Day", (replace(OWN, replicas=1),), {}, NOON + 60 * minute)
    assert ledger.per_hour == pytest.approx(2.0, rel=0.1)


def test_marks_are_bounded():
    crowd = {f"router-{at}": told(1.0) for at in range(1000)}

    assert len(run((0, crowd)).marks) == 300


def test_a_new_router_that_is_silent_at_first_loses_nothing():
    """While nobody looked it took another's place; at the first look afterwards it does not answer in time."""
    ledger = run((0, {"a": told(5.0)}))
    late = {"b": told(3.0, began_s=NOON + 1800)}
    ledger = after(ledger, "Day", (API,), {}, NOON + 7200, complete=False)
    ledger = after(ledger, "Day", (API,), late, NOON + 7215)
    assert ledger.total == 3.0

    again = after(ledger, "Day", (API,), late, NOON + 7230)
    assert again.total == 3.0


def test_a_silent_router_is_remembered_for_as_long_as_some_are_silent():
    ledger = run((0, {"a": told(5.0), "b": told(1.0)}))
    for at in range(1, 100):
        ledger = after(ledger, "Day", (API,), {"a": told(5.0)}, NOON + 60 * at, complete=False)

    assert after(ledger, "Day", (API,), {"a": told(5.0), "b": told(1.5)}, NOON + 6000).total == 0.5


def test_names_that_come_and_go_do_not_fill_the_ledger():
    ledger = run((0, {}))
    for at in range(100):
        ledger = after(ledger, "Day", (replace(OWN, tier=f"t{at}"),), {}, NOON + 60 * (at + 1))

    assert len(ledger.spent) <= 32
    assert ledger.total == pytest.approx(100 * 0.1)


def test_of_all_that_a_router_counted_a_ledger_takes_its_own():
    counted = Counted.of(
        NOON,
        dollars={("chat", "gpt"): 3.0, ("chat", "small"): 9.0, ("code", "gpt"): 5.0},
        sent={("chat", "small"): 10.0, ("code", "small"): 30.0, ("chat", "gpt"): 4.0},
    )

    found = counted.told("chat", (replace(OWN, users=2), API))
    assert found.dollars == {"gpt": 3.0}  # tokens of our own replicas are paid by the hour
    assert (found.own, found.all) == ({"small": 10.0}, {"small": 40.0})


def test_a_ledger_is_read_as_it_was_written():
    ledger = run((0, {"a": told(1.0)}), (15, {"a": told(1.5)}), charges=(API, replace(OWN, users=2)))

    assert decode(encode(ledger)) == ledger
    with pytest.raises(ValueError, match="at_s"):
        decode('{"at_s": "soon"}')


STEPS = st.lists(
    st.tuples(
        st.floats(min_value=-30, max_value=40_000),  # seconds since the last look
        st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.booleans()), min_size=2, max_size=2),
    ),
    max_size=30,
)


@given(STEPS, st.integers(0, 29))
def test_it_never_counts_twice_and_never_goes_back(
    steps: list[tuple[float, list[tuple[float, bool, bool]]]], cut: int
):
    """Whatever routers do and wherever an operator goes on from an older entry: no dollar twice, none back."""
    now_s, truth, counters = NOON, 0.0, {"a": (NOON - 60, 0.0), "b": (NOON - 60, 0.0)}
    ledger = after(Ledger(), "Month", (API,), {}, now_s)
    written, before = ledger, 0.0
    for at, (wait_s, routers) in enumerate(steps):
        now_s += wait_s
        heard = {}
        for pod, (dollars, restarts, answers) in zip(("a", "b"), routers, strict=True):
            began_s, count = counters[pod]
            if restarts and wait_s > 1:
                began_s, count = now_s - 1, 0.0
            counters[pod] = (began_s, count + dollars)
            truth += dollars
            if answers:
                heard[pod] = told(counters[pod][1], began_s=began_s)
        if at == cut:
            ledger = written  # what the last operator had not written is lost
            before = min(before, ledger.total)
        after_it = after(ledger, "Month", (API,), heard, now_s)
        if after_it.start_s == ledger.start_s:
            assert after_it.total >= before - 1e-9
        assert after_it.total <= truth + 1e-6
        if at % 5 == 0:
            written = after_it
        ledger, before = after_it, after_it.total
    assert math.isfinite(ledger.per_hour)
