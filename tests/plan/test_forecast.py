"""What will come while a replica starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.forecast import growth, lasting, level

LOOK_S = 15.0
CALM = [60.0] * 200


def ahead(rates: list[float], quantile: float = 0.98, horizon_s: float = 120.0) -> float:
    now_rps = level(rates, look_s=LOOK_S)
    return growth(rates, look_s=LOOK_S, horizon_s=horizon_s).later_rps(now_rps, quantile)


def test_a_steady_load_is_expected_to_stay():
    assert ahead(CALM) == 60.0


def test_growth_that_was_seen_is_expected_again():
    grows = [40.0 * 1.01**at for at in range(200)]

    # Eight looks of one percent each, and the mean of a minute trails behind the newest look.
    assert 1.05 * grows[-1] < ahead(grows) < 1.2 * grows[-1]


def test_a_load_that_falls_is_taken_as_it_is():
    falls = [100.0 * 0.99**at for at in range(200)]

    assert ahead(falls) >= falls[-1]
    assert ahead(falls) <= 1.05 * falls[-1]


def test_a_ramp_of_equal_steps_is_one_step_ahead():
    steps = [step for rate in (2.0, 4.0, 6.0, 8.0) for step in [rate] * 24]

    assert ahead(steps) == 10.0  # twice as much, as once from 2 to 4, is not believed


def test_a_load_that_begins_is_not_expected_to_do_so_again():
    begins = [0.0] * 4 + [4.5] * 8

    assert ahead(begins) == pytest.approx(1.3 * 4.5)
    assert ahead([0.0] * 40 + [60.0] * 30, quantile=0.75) == 60.0


@pytest.mark.parametrize(
    ("rates", "lasts"),
    [
        pytest.param([60.0] * 20, 60.0, id="a steady load"),
        pytest.param([60.0] * 18 + [200.0, 200.0], 74.0, id="a burst counts as part of the mean"),
        pytest.param([60.0] * 12 + [200.0] * 8, 200.0, id="what came for two minutes is no burst"),
        pytest.param([], 0.0, id="nothing known"),
    ],
)
def test_lasting(rates: list[float], lasts: float):
    assert lasting(rates, look_s=LOOK_S) == pytest.approx(lasts)


def test_without_a_past_growth_is_assumed():
    assert ahead([60.0, 60.0]) > 60.0


def test_a_burst_counts_at_once():
    assert level([*CALM, 120.0], look_s=LOOK_S) > 70.0


@given(st.lists(st.floats(0, 1000), max_size=200), st.floats(0.5, 0.99))
def test_never_less_than_the_present_and_never_out_of_this_world(rates: list[float], quantile: float):
    now_rps = level(rates, look_s=LOOK_S)

    assert now_rps <= ahead(rates, quantile) <= 4 * now_rps
