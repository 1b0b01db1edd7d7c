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


LEAVES = {
    "at once": (0.5, False, True, "Cancelled"),
    "before a long prompt is read": (9.9, False, True, "Cancelled"),
    "a stream that does not begin": (10.0, False, True, "Abandoned"),
    "a stream that has begun": (99.0, True, True, "Cancelled"),
    "a whole answer that takes its time": (10.0, False, False, "Cancelled"),
    "a whole answer that takes too much": (30.0, False, False, "Abandoned"),
}


@pytest.mark.parametrize(("asked_s", "said", "stream", "want"), LEAVES.values(), ids=LEAVES)
def test_client_leaves(asked_s: float, said: bool, stream: bool, want: str):  # noqa: FBT001 - a row
    assert patience.leaving(asked_s, said=said, stream=stream) == want
