"""What counters of many pods have gained together, as it stood at past moments: windows over any time that is kept.

Pods come, go and restart; their counters do not add up to anything.  Their gains do.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelfleet.adapters.series import Series

_EPSILON_S = 1e-6


@dataclass(frozen=True, slots=True)
class Keep:
    """Moments that are kept: the last one of every `step_s`, counted from zero, as far back as `reach_s`."""

    step_s: float
    reach_s: float


@dataclass(frozen=True, slots=True)
class Mark:
    """All totals at one moment."""

    at_s: float
    totals: "array[float]"


class Totals:
    """Sums of gains by series.  `keeps`: the finest first; a moment stays while any of them wants it."""

    def __init__(self, *keeps: Keep) -> None:
        self._keeps = keeps
        self._index: dict[Series, int] = {}
        self._named: dict[str, list[Series]] = {}
        self._now: array[float] = array("d")
        self._marks: list[Mark] = []

    def __len__(self) -> int:
        """How many series are known."""
        return len(self._index)

    def add(self, series: Series, gain: float) -> None:
        """The series has gained so much; a gain of nothing makes it known."""
        at = self._index.get(series)
        if at is None:
            at = self._index[series] = len(self._now)
            self._named.setdefault(series.name, []).append(series)
            self._now.append(0.0)
        self._now[at] += gain

    def mark(self, at_s: float) -> None:
        """Keep the totals as they are at this moment; moments ascend."""
        self._marks.append(Mark(at_s, self._now[:]))
        reach_s = max(keep.reach_s for keep in self._keeps)
        self._marks = [
            mark
            for mark, later in zip(self._marks, [*self._marks[1:], None], strict=True)
            if later is None
            or self._wanted(mark.at_s, later.at_s, at_s)
            # Else no window could reach as far back as one may.
            or (mark is self._marks[0] and at_s - later.at_s < reach_s)
        ]

    @property
    def marks(self) -> Sequence[Mark]:
        """The moments that are kept, in order."""
        return self._marks

    def before(self, at_s: float) -> Mark | None:
        """The last moment not after this one; the first that is kept where all are after."""
        if not self._marks:
            return None
        place = bisect_right(self._marks, at_s + _EPSILON_S, key=_at_s)
        return self._marks[max(0, place - 1)]

    def nearest(self, at_s: float) -> Mark | None:
        """The moment nearest to this one."""
        place = bisect_left(self._marks, at_s, key=_at_s)
        return min(
            self._marks[max(0, place - 1) : place + 1], key=lambda mark: abs(mark.at_s - at_s), default=None
        )

    def gains(self, name: str, start: Mark, end: Mark) -> Iterator[tuple[Series, float]]:
        """What every series of this name gained between two moments."""
        early, late, index = start.totals, end.totals, self._index
        begun, known = len(early), len(late)
        for series in self._named.get(name, ()):
            at = index[series]
            if at < known:
                yield series, late[at] - (early[at] if at < begun else 0.0)

    def keep_only(self, series: set[Series]) -> None:
        """Forget all others that gained nothing in the time that is kept."""
        if not self._marks or len(self._index) <= 2 * len(series):
            return
        first = self._marks[0].totals
        places = [
            (each, at)
            for each, at in self._index.items()
            if each in series or self._now[at] != (first[at] if at < len(first) else 0.0)
        ]
        self._index = {each: new for new, (each, _) in enumerate(places)}
        self._named = {}
        for each in self._index:
            self._named.setdefault(each.name, []).append(each)
        self._now = array("d", (self._now[at] for _, at in places))
        self._marks = [
            Mark(mark.at_s, _picked(mark.totals, [at for _, at in places])) for mark in self._marks
        ]

    def _wanted(self, at_s: float, later_s: float, now_s: float) -> bool:
        """Whether a moment is the last of its step for any that wants it at its age."""
        return any(
            now_s - at_s <= keep.reach_s and _step(at_s, keep.step_s) != _step(later_s, keep.step_s)
            for keep in self._keeps
        )


def _picked(totals: "array[float]", places: Sequence[int]) -> "array[float]":
    return array("d", (totals[at] if at < len(totals) else 0.0 for at in places))


def _step(at_s: float, step_s: float) -> int:
    """A step ends with its own end, so the moment at a whole multiple is the last before it."""
    return math.ceil(at_s / step_s - _EPSILON_S)


def _at_s(mark: Mark) -> float:
    return mark.at_s
