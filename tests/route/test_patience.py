import pytest

from modelfleet.route import patience

CASES = {
    "nothing came yet": (20.0, False, 120.0),
    "a stream said something": (20.0, True, 135.0),
    "a stream of a tier that may take long": (600.0, True, 115.0 + patience.SILENCE_S_MAX),
}


@pytest.mark.parametrize(("timeout_s", "began", "want_s"), CASES.values(), ids=CASES)
def test_due(timeout_s: float, began: bool, want_s: float):  # noqa: FBT001 - a row
    assert patience.due_s(100.0, 115.0, timeout_s, began=began) == want_s
