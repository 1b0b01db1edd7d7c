"""What the request level tells the fluid."""

from random import Random

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.arrivals import Day
from modelfleet.sim.fleet import Arrival, Slo
from modelfleet.sim.tail import Tail, measure

ENGINE = PROFILES["8b-h100"]
ALIKE = [Arrival(0.0, 512, 128)]


@pytest.fixture(scope="module")
def uneven() -> Tail:
    random, day = Random(4), Day(mean_rps=1.0)
    return measure(
        ENGINE, [Arrival(0.0, day.prompt.draw(random), day.output.draw(random)) for _ in range(2000)], Slo()
    )


def test_more_load_serves_nobody_better(uneven: Tail):
    assert list(uneven.good) == sorted(uneven.good, reverse=True)
    assert uneven.good[0] > 0.999
    assert uneven.good[-1] < 0.5


def test_parts_by_bucket_are_whole(uneven: Tail):
    assert all(sum(part for _, part in parts) == pytest.approx(1.0) for parts in uneven.itl)


def test_uneven_requests_miss_where_equal_ones_do_not(uneven: Tail):
    equal = measure(ENGINE, ALIKE, Slo())

    assert (
        uneven.rate_rps(0.99) / len(uneven.good) / uneven.step_rps
        < equal.rate_rps(0.99) / len(equal.good) / equal.step_rps
    )
