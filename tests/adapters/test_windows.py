"""Single rows; that all of them come to what Prometheus makes of them is in test_readings."""

from collections import deque

import pytest

from modelfleet.adapters import queries
from modelfleet.adapters.pages import Page
from modelfleet.adapters.queries import TABLE
from modelfleet.adapters.series import Series
from modelfleet.adapters.totals import Keep, Totals
from modelfleet.adapters.windows import Look, PodTold

ROWS = {row.name: row for row in TABLE}
LABELS = {"fleet_namespace": "team", "model_tier": "small"}
POD = {"namespace": "team", "pod": "small-0", "instance": "a"}
IN_FLIGHT = Series("modelfleet_router_requests_in_flight", LABELS)
REAL, STAND_IN = (Series(name, POD) for name in ROWS["vllm_cached"].series)
NOW = 100.0


def told(*series: Series, values: tuple[float, ...] = (1.0,), at_s: float = NOW) -> PodTold:
    """A pod whose gauges had these values, the newest last, five seconds apart."""
    gauges = {one.name: [(one, values[-1])] for one in series}
    past = [(at_s - 5.0 * back, dict.fromkeys(series, value)) for back, value in enumerate(reversed(values))]
    return PodTold(Page(at_s, dict.fromkeys(series, values[-1])), gauges, deque(reversed(past)))


def look(*pods: PodTold, totals: Totals | None = None) -> Look:
    lately = totals or Totals(Keep(1.0, 600.0))
    lately.mark(NOW)
    return Look(now_s=NOW, pods=pods, lately=lately, hour=lately, since_s=15.0)


MEANS = {
    "of fifteen seconds": ((9.0, 2.0, 4.0, 6.0), 4.0),
    "one page: as it is": ((7.0,), 7.0),
}


@pytest.mark.parametrize(("values", "want"), MEANS.values(), ids=MEANS)
def test_a_gauge_that_jumps_is_averaged(values: tuple[float, ...], want: float):
    assert look(told(IN_FLIGHT, values=values)).row(ROWS["in_flight"]) == {("team", "small"): want}


def test_every_router_counts_and_the_oldest_says_how_old_it_is():
    seen = look(told(IN_FLIGHT), told(IN_FLIGHT, at_s=NOW - 7.0))

    assert seen.row(ROWS["routers"]) == {("team", "small"): 2}
    assert seen.row(ROWS["age"]) == {("team", "small"): 7.0}


def test_a_stand_in_counts_where_there_is_no_real_one():
    both, alone = (Totals(Keep(1.0, 600.0)) for _ in range(2))
    for totals, series in ((both, (REAL, STAND_IN)), (alone, (STAND_IN,))):
        for one in series:
            totals.add(one, 0.0)
        totals.mark(NOW - 300.0)
        for one in series:
            totals.add(one, 5.0)
    key = tuple(POD[label] for label in queries.ENGINE)

    assert look(told(REAL, STAND_IN), totals=both).row(ROWS["vllm_cached"]) == {key: 5.0}
    assert look(told(STAND_IN), totals=alone).row(ROWS["vllm_cached"]) == {key: 5.0}


def test_what_nobody_tells_any_more_is_not_told_as_nothing():
    totals = Totals(Keep(1.0, 600.0))
    totals.add(REAL, 5.0)
    totals.mark(NOW - 300.0)

    assert look(totals=totals).row(ROWS["vllm_cached"]) == {}
