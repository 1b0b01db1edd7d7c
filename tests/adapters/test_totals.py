from hypothesis import given
from hypothesis import strategies as st

from modelfleet.adapters.series import Series
from modelfleet.adapters.totals import Keep, Totals

A, B, C = Series("a", {}), Series("b", {}), Series("c", {})


def gains(totals: Totals, start_s: float) -> dict[str, float]:
    start = totals.before(start_s)
    assert start is not None
    return {
        series.name: gain for name in "abc" for series, gain in totals.gains(name, start, totals.marks[-1])
    }


def test_what_was_gained_since_a_moment():
    totals = Totals(Keep(1.0, 60.0))
    for at_s, gain in ((0.0, 0.0), (5.0, 3.0), (10.0, 4.0)):
        totals.add(A, gain)
        totals.mark(at_s)
    totals.add(B, 2.0)
    totals.mark(15.0)

    assert gains(totals, 5.0) == {"a": 4.0, "b": 2.0}
    assert gains(totals, 7.0) == {"a": 4.0, "b": 2.0}
    assert gains(totals, -100.0) == {"a": 7.0, "b": 2.0}  # the window is as long as it is
    nearest = totals.nearest(8.0)
    assert nearest is not None
    assert nearest.at_s == 10.0


def test_old_moments_are_kept_more_rarely():
    totals = Totals(Keep(1.0, 20.0), Keep(30.0, 100.0))
    for step in range(41):
        totals.mark(5.0 * step)

    assert [mark.at_s for mark in totals.marks] == [90.0, 120.0, 150.0, 180.0, 185.0, 190.0, 195.0, 200.0]


def test_what_is_gone_is_forgotten_once_it_has_gained_nothing_for_long():
    totals = Totals(Keep(1.0, 20.0))
    for series in (A, B, C):
        totals.add(series, 1.0)
    totals.mark(0.0)
    totals.add(B, 1.0)
    totals.mark(5.0)
    totals.keep_only({A})
    assert gains(totals, 0.0) == {"a": 0.0, "b": 1.0}

    for at_s in (10.0, 20.0, 30.0):
        totals.add(A, 1.0)
        totals.mark(at_s)
    totals.keep_only({A})
    assert gains(totals, 20.0) == {"a": 1.0, "b": 0.0}  # not worth the work yet

    totals.add(C, 5.0)  # new again
    totals.mark(35.0)
    assert gains(totals, 20.0) == {"a": 1.0, "b": 0.0, "c": 5.0}


MOMENTS = st.lists(st.tuples(st.floats(0.5, 20.0), st.floats(0.0, 9.0)), min_size=1, max_size=60)


@given(MOMENTS)
def test_a_window_is_never_shorter_than_what_it_was_asked_for(moments: list[tuple[float, float]]):
    totals, now_s, told = Totals(Keep(1.0, 60.0), Keep(30.0, 300.0)), 0.0, [(0.0, 0.0)]
    totals.add(A, 0.0)
    totals.mark(now_s)
    for after_s, gain in moments:
        now_s += after_s
        totals.add(A, gain)
        totals.mark(now_s)
        told.append((now_s, told[-1][1] + gain))

    for window_s in (15.0, 60.0, 240.0):
        start = totals.before(now_s - window_s)
        assert start is not None
        assert start.at_s <= now_s - window_s + 1e-5 or start is totals.marks[0]
        if now_s <= 240.0:
            assert start.at_s == 0.0 or now_s - start.at_s <= window_s + 30.0 + 20.0
        (gain,) = (each for series, each in totals.gains("a", start, totals.marks[-1]))
        assert abs(gain - (told[-1][1] - dict(told)[start.at_s])) < 1e-6
    assert len(totals.marks) < 61 + 11


def test_it_tells_how_many_series_it_knows():
    totals = Totals(Keep(1.0, 10.0))
    one, other = (Series("a", {"b": each}) for each in "cd")
    for series in (one, other, one):
        totals.add(series, 1.0)

    assert len(totals) == 2
