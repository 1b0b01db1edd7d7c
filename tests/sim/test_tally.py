"""What came out of a run."""

import pytest

from modelfleet.sim.tally import worst_hour


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param([(3.0, 10.0)] * 200, 0.3, id="the same all along"),
        pytest.param([(3.0, 10.0)] * 100 + [(0.0, 10.0)] * 30 + [(3.0, 10.0)] * 100, 0.15, id="half an hour without"),
        pytest.param([(3.0, 10.0)] * 20, 0.3, id="less than an hour"),
        pytest.param([(0.0, 0.0)] * 90, 1.0, id="no answers at all"),
        pytest.param([], 1.0, id="no time at all"),
    ],
)  # fmt: skip
def test_worst_hour(minutes: list[tuple[float, float]], expected: float):
    assert worst_hour(minutes) == pytest.approx(expected)


def test_an_hour_of_few_answers_may_be_left_out():
    minutes = (
        [(3.0, 10.0)] * 100 + [(0.0, 0.0)] * 80 + [(0.0, 1.0)] * 5 + [(0.0, 0.0)] * 60 + [(3.0, 10.0)] * 100
    )

    assert worst_hour(minutes) == 0.0
    assert worst_hour(minutes, busy=0.1) > 0.25
