"""When a number is left to somebody else who writes it, too."""

import pytest

from modelfleet.diff.reverts import REVERTS_MAX, WINDOW_S, contested, looked, wrote

# What was found at which second, after each of which we write 4.
STORIES: dict[str, tuple[list[tuple[float, int]], bool]] = {
    "nobody touches it": ([(5.0 * n, 4) for n in range(100)], False),
    "set back at every look": ([(5.0 * n, 2) for n in range(REVERTS_MAX)], True),
    "set back now and then": ([(WINDOW_S * n, 2) for n in range(10)], False),
    "set back once less than too often": ([(5.0 * n, 2) for n in range(REVERTS_MAX - 1)], False),
    "set back, and given up since": ([(0.0, 2), (5.0, 2), (10.0, 2), (11.0 + WINDOW_S, 4)], False),
}


@pytest.mark.parametrize(("looks", "want"), STORIES.values(), ids=STORIES)
def test_contested(looks: list[tuple[float, int]], want: bool):  # noqa: FBT001  a row of the table
    known = wrote(None, 4)

    for now_s, running in looks:
        found = looked(known, running=running, now_s=now_s)
        known = wrote(found, 4)

    assert contested(known) == want


def test_one_revert_is_counted_once_however_often_it_is_looked_at():
    known = wrote(None, 4)

    for now_s in range(10):
        found = looked(known, running=2, now_s=float(now_s))
        assert found is not None
        known = found

    assert len(known.reverted_at_s) == 1


def test_what_we_never_wrote_nobody_sets_back():
    assert looked(None, running=2, now_s=0.0) is None
    assert not contested(None)


def test_a_look_that_finds_nothing_says_nothing():
    known = wrote(None, 4)

    assert looked(known, running=None, now_s=0.0) == known
