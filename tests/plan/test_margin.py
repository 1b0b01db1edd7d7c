"""Room for bursts."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.margin import Attained, adapted, dispersion, room_rps


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        pytest.param([20.0] * 50, 1.0, 1.0, id="a clockwork is taken as Poisson"),
        pytest.param([float(at) for at in range(50)], 1.0, 1.0, id="a steady rise is not uneven"),
        pytest.param([0.0, 200.0] * 25, 100.0, 400.0, id="clumps of a hundred"),
        pytest.param([], 1.0, 1.0, id="nothing known"),
        pytest.param([0.0] * 20, 1.0, 1.0, id="nobody came"),
    ],
)
def test_dispersion(counts: list[float], low: float, high: float):
    assert low <= dispersion(counts) <= high


def test_dispersion_of_poisson_counts_is_one():
    random = Random(5)
    counts = [float(sum(random.random() < 0.02 for _ in range(1000))) for _ in range(400)]

    assert dispersion(counts) == pytest.approx(1.0, abs=0.3)


@given(st.floats(0.1, 1e4), st.floats(1, 100), st.floats(0, 4))
def test_four_times_the_load_needs_twice_the_room(rate_rps: float, uneven: float, deviations: float):
    once = room_rps(rate_rps, uneven, interval_s=5.0, deviations=deviations)

    assert room_rps(4 * rate_rps, uneven, interval_s=5.0, deviations=deviations) == pytest.approx(2 * once)


def test_attained_is_of_the_last_hour():
    seen = Attained()
    for _ in range(240):
        seen = seen.after(100.0, good=90.0, seconds=15.0)

    assert seen.share == pytest.approx(0.9)
    assert seen.after(0.0, good=0.0, seconds=3600.0).share is None


HOUR = {"goal": 0.99, "base": 1.0, "reach": 1.0, "seconds": 3600.0}


@pytest.mark.parametrize(
    ("deviations", "attained", "after"),
    [
        pytest.param(1.0, 0.96, 2.0, id="an hour of misses widens it as far as it may"),
        pytest.param(1.0, 1.0, 0.5, id="an hour without narrows it slowly"),
        pytest.param(1.0, 0.992, 1.0, id="on the goal it stays"),
        pytest.param(0.2, 1.0, 0.0, id="never below nothing"),
        pytest.param(1.3, None, 1.3, id="nobody asked: nothing learned"),
    ],
)
def test_width_follows_what_was_attained(deviations: float, attained: float | None, after: float):
    assert adapted(deviations, attained=attained, **HOUR) == pytest.approx(after)
