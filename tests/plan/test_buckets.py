import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.buckets import Buckets

CALM = Buckets((0.1, 0.2, 0.4, math.inf), (10.0, 30.0, 40.0, 40.0), 8.0)
SCORES = Buckets((-2.0, -1.0, 0.0, math.inf), (10.0, 20.0, 40.0, 40.0))

QUANTILES = {
    "half of it: inside the second bucket": (CALM, 0.5, 0.15),
    "all of it: the last bound that holds any": (CALM, 1.0, 0.4),
    "none of it: where the first begins": (CALM, 0.0, 0.0),
    "beyond the last bound: the last bound": (Buckets((0.1, math.inf), (1.0, 10.0)), 0.9, 0.1),
    "nothing measured: no quantile": (Buckets((0.1, math.inf), (0.0, 0.0)), 0.9, None),
    "log probabilities: between two negative bounds": (SCORES, 0.375, -1.5),
    "log probabilities: the first bucket has no width": (SCORES, 0.1, -2.0),
    "only the infinite bucket: no bound is known": (Buckets((math.inf,), (4.0,)), 0.5, None),
}


@pytest.mark.parametrize(("seen", "share", "want"), QUANTILES.values(), ids=QUANTILES)
def test_quantile(seen: Buckets, share: float, want: float | None):
    assert seen.quantile(share) == (None if want is None else pytest.approx(want))


WITHIN = {
    "at an edge: exact": (CALM, 0.2, 0.75),
    "between two edges: in proportion": (CALM, 0.3, 0.875),
    "below the first edge: in proportion from zero": (CALM, 0.05, 0.125),
    "beyond the last finite edge: all that lie below it": (Buckets((0.1, math.inf), (3.0, 4.0)), 60.0, 0.75),
    "nothing measured: no share": (Buckets((0.1, math.inf), (0.0, 0.0)), 1.0, None),
    "log probabilities": (SCORES, -1.5, 0.375),
    "below all log probabilities": (SCORES, -3.0, 0.0),
}


@pytest.mark.parametrize(("seen", "bound", "want"), WITHIN.values(), ids=WITHIN)
def test_within(seen: Buckets, bound: float, want: float | None):
    assert seen.within(bound) == (None if want is None else pytest.approx(want))


def test_mean():
    assert CALM.mean == pytest.approx(0.2)
    assert SCORES.mean is None


MADE = {
    "sorted": ({math.inf: 3.0, 0.1: 1.0}, ((0.1, math.inf), (1.0, 3.0))),
    "a bucket that lags behind is lifted": ({0.1: 2.0, 0.2: 1.9, math.inf: 3.0}, ((0.1, 0.2, math.inf), (2.0, 2.0, 3.0))),
    "without the infinite bucket: nothing": ({0.1: 2.0}, None),
    "no number: nothing": ({0.1: math.nan, math.inf: 2.0}, None),
}  # fmt: skip


@pytest.mark.parametrize(("counts", "want"), MADE.values(), ids=MADE)
def test_of(counts: dict[float, float], want: tuple[tuple[float, ...], tuple[float, ...]] | None):
    made = Buckets.of(counts)

    assert (None if made is None else (made.bounds, made.counts)) == want


SEEN = st.lists(st.floats(0.0, 50.0).map(lambda count: round(count, 6)), min_size=3, max_size=3).map(
    lambda parts: Buckets((0.1, 0.2, 0.4, math.inf), (*_sums(parts), sum(parts)))
)


def _sums(parts: list[float]) -> list[float]:
    return [sum(parts[: end + 1]) for end in range(len(parts))]


@given(SEEN, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_what_is_within_a_quantile_is_its_share(seen: Buckets, one: float, other: float):
    low, high = seen.quantile(min(one, other)), seen.quantile(max(one, other))
    if low is None or high is None:
        assert seen.count == 0
        return
    assert low <= high + 1e-9
    share = seen.within(high)
    assert share is not None
    assert share >= max(one, other) - 1e-6
