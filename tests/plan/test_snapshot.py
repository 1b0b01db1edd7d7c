import math

import pytest

from modelfleet.plan.snapshot import Idle, Missing, Reading, Sample, usable

READINGS: dict[str, tuple[Reading, float | None]] = {
    "fresh and complete": (Sample(4.0, age_s=3.0, complete=True), 4.0),
    "a fresh zero is a number": (Sample(0.0, age_s=0.0, complete=True), 0.0),
    "as old as allowed": (Sample(4.0, age_s=60.0, complete=True), 4.0),
    "too old": (Sample(4.0, age_s=60.1, complete=True), None),
    "from the future": (Sample(4.0, age_s=-0.1, complete=True), None),
    "of unknown age": (Sample(4.0, age_s=math.inf, complete=True), None),
    "partial": (Sample(4.0, age_s=3.0, complete=False), None),
    "not a number": (Sample(math.nan, age_s=3.0, complete=True), None),
    "infinite": (Sample(math.inf, age_s=3.0, complete=True), None),
    "negative": (Sample(-1.0, age_s=3.0, complete=True), None),
    "idle": (Idle(), None),
    "missing": (Missing(), None),
}


@pytest.mark.parametrize(("reading", "want"), READINGS.values(), ids=READINGS)
def test_usable(reading: Reading, want: float | None):
    assert usable(reading, stale_after_s=60.0) == want
