"""Requests made from rates."""

import math
from itertools import pairwise
from random import Random
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.sim.arrivals import Client, Day, lognormal, staged, synthetic, weibull_shape, window


@pytest.mark.parametrize(
    ("client", "cv"),
    [
        pytest.param(Client(20.0), 1.0, id="Poisson"),
        pytest.param(Client(20.0, cv=3.0), 3.0, id="bursts of gamma gaps"),
        pytest.param(Client(20.0, cv=2.5, weibull=True), 2.5, id="bursts of Weibull gaps"),
        pytest.param(Client(20.0, cv=0.3), 0.3, id="a steady machine"),
    ],
)
def test_gaps_have_their_spread_and_the_window_its_number(client: Client, cv: float):
    times = window([client], 1000.0, Random(2))
    gaps = [after - before for before, after in pairwise(times)]

    assert len(times) == 12_000
    assert times == sorted(times)
    assert times[0] >= 1000
    assert times[-1] <= 1600 + 1e-6
    assert stdev(gaps) / mean(gaps) == pytest.approx(cv, rel=0.15)


@given(st.floats(0.2, 8.0))
def test_weibull_shape_gives_the_coefficient_of_variation(cv: float):
    shape = weibull_shape(cv)
    spread = math.exp(math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)) - 1

    assert math.sqrt(spread) == pytest.approx(cv, rel=1e-3)


def test_lengths_have_their_median_and_mean():
    lengths, random = lognormal(100, 180), Random(1)
    drawn = sorted(lengths.draw(random) for _ in range(20_000))

    assert drawn[10_000] == pytest.approx(100, rel=0.05)
    assert mean(drawn) == pytest.approx(180, rel=0.15)  # the last half percent of the tail is cut
    assert drawn[0] >= 1


def test_a_day_peaks_where_it_should_and_repeats_under_its_seed():
    day = Day(mean_rps=2.0, peak_to_mean=2.5, noise=0.0)
    requests = list(synthetic(day, seconds=86_400, seed=7))
    by_hour = [0] * 24
    for request in requests:
        by_hour[int(request.at_s // 3600)] += 1

    assert abs(by_hour.index(max(by_hour)) - 13) <= 2
    assert len(requests) / 86_400 == pytest.approx(2.0, rel=0.1)
    assert requests == list(synthetic(day, seconds=86_400, seed=7))
    assert requests[:50] != list(synthetic(day, seconds=3600, seed=8))[:50]


def test_stages_follow_one_another():
    requests = list(staged([(10, 100), (0, 50), (40, 100)], prompt=10, output=5, seed=1))
    counts = [
        sum(low <= one.at_s < high for one in requests) for low, high in ((0, 100), (100, 150), (150, 250))
    ]

    assert counts[0] == pytest.approx(1000, rel=0.15)
    assert counts[1] == 0
    assert counts[2] == pytest.approx(4000, rel=0.1)
