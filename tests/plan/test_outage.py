"""All traffic stopped, or less came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.outage import stopped

LOOK_S = 15.0
BUSY = [60.0] * 60  # a quarter of an hour
MINUTE = [0.0] * 4


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        pytest.param(BUSY, False, id="they come"),
        pytest.param(BUSY + MINUTE, True, id="nobody for a minute"),
        pytest.param(BUSY + MINUTE * 25, True, id="nobody for 25 minutes"),
        pytest.param(BUSY + MINUTE * 26, False, id="nobody for longer: they stay away"),
        pytest.param([*BUSY, *MINUTE, 1.0], False, id="one came again"),
        pytest.param([60.0] * 59 + MINUTE, False, id="a load of less than a quarter of an hour"),
        pytest.param([1.0] * 60 + MINUTE, False, id="few came: a look without any is chance"),
        pytest.param([*BUSY[:30], 0.0, *BUSY[:30], *MINUTE], False, id="it came and went before, too"),
        pytest.param([0.0] * 200, False, id="nobody ever came"),
        pytest.param([], False, id="nothing known"),
    ],
)
def test_stopped(rates: list[float], *, expected: bool):
    assert stopped(rates, look_s=LOOK_S) is expected


@given(st.lists(st.floats(0.1, 1000), max_size=200))
def test_whoever_is_asked_was_not_left(rates: list[float]):
    assert not stopped(rates, look_s=LOOK_S)
