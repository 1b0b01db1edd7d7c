"""One look at what pods told: how each row of the table (queries.py) comes from it, as Prometheus would compute it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from modelfleet.adapters import queries
from modelfleet.adapters.fleet_load import Numbers
from modelfleet.adapters.pages import Page
from modelfleet.adapters.queries import How, Query
from modelfleet.adapters.series import Series
from modelfleet.adapters.totals import Mark, Totals
from modelfleet.plan.load import RATE_S

_FULL_MIN = 0.5  # of a minute's window, before it tells anything

Values = Iterator[tuple[Series, float]]


@dataclass(slots=True)
class PodTold:
    """The last page of one pod, what gauges are on it by name, and those of the last minute and a little more."""

    page: Page
    gauges: Mapping[str, Sequence[tuple[Series, float]]] = field(default_factory=dict)
    recent: deque[tuple[float, Mapping[Series, float]]] = field(default_factory=deque)

    def mean(self, series: Series, *, start_s: float, end_s: float) -> float | None:
        """Of a gauge, over the pages after `start_s` and not after `end_s`."""
        values = [page[series] for at_s, page in self.recent if start_s < at_s <= end_s and series in page]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True, slots=True)
class _Window:
    """From one moment to another."""

    totals: Totals
    start: Mark
    end: Mark

    @property
    def seconds(self) -> float:
        return self.end.at_s - self.start.at_s


class Look:
    """As of `now_s`, the last reading.  `pods`: those whose word is fresh."""

    def __init__(self, *, now_s: float, pods: Sequence[PodTold], lately: Totals, hour: Totals, since_s: float) -> None:  # fmt: skip
        self._now_s = now_s
        self._pods = pods
        self._lately = lately
        self._hour = hour
        self._since_s = since_s
        # What nobody tells any more is not told as nothing gained.
        self._told = {series for told in pods for series in told.page.samples}
        self._ways: Mapping[How, Callable[[Query], Numbers]] = {
            "Now": self._now,
            "Mean": self._mean,
            "Before": self._before,
            "Max": self._max,
            "Age": self._age,
            "Instances": self._instances,
            "Rate": self._rate,
            "Increase": self._increase,
            "Since": self._since,
        }

    def row(self, row: Query) -> Numbers:
        """The numbers of one row, by the values of its labels."""
        return self._ways[row.how](row)

    def _now(self, row: Query) -> Numbers:
        return _summed(row, (each for told in self._pods for each in _of(row, told)))

    def _max(self, row: Query) -> Numbers:
        found: dict[tuple[str, ...], float] = {}
        for told in self._pods:
            for series, value in _of(row, told):
                key = series.key(row.by)
                found[key] = max(value, found.get(key, value))
        return found

    def _mean(self, row: Query) -> Numbers:
        if row.window_s <= RATE_S:
            return _summed(row, self._means(row, self._now_s))
        window = self._window(row)
        if window is None or window.seconds <= 0:
            return {}
        return _summed(row, ((series, gain / window.seconds) for series, gain in self._gains(row, window)))

    def _before(self, row: Query) -> Numbers:
        return _summed(row, self._means(row, self._now_s - row.window_s))

    def _means(self, row: Query, end_s: float) -> Values:
        for told in self._pods:
            for series, value in _of(row, told):
                mean = told.mean(series, start_s=end_s - queries.GAUGE_MEAN_S, end_s=end_s)
                if mean is not None or end_s == self._now_s:
                    yield series, value if mean is None else mean

    def _age(self, row: Query) -> Numbers:
        found: dict[tuple[str, ...], float] = {}
        for told in self._pods:
            for series, _ in _of(row, told):
                key = series.key(row.by)
                found[key] = max(self._now_s - told.page.at_s, found.get(key, 0.0))
        return found

    def _instances(self, row: Query) -> Numbers:
        found: dict[tuple[str, ...], float] = {}
        for told in self._pods:
            for key in {series.key(row.by) for series, _ in _of(row, told)}:
                found[key] = found.get(key, 0.0) + 1
        return found

    def _rate(self, row: Query) -> Numbers:
        window = self._window(row)
        if window is None or window.seconds < _FULL_MIN * row.window_s:
            return {}
        return _summed(row, ((series, gain / window.seconds) for series, gain in self._gains(row, window)))

    def _increase(self, row: Query) -> Numbers:
        window = self._window(row)
        least_s = _FULL_MIN * row.window_s if row.window_s <= RATE_S else 0.0
        if window is None or window.seconds <= least_s:
            return {}
        # Moments long ago are kept rarely: of a window that had to begin earlier, the part that was asked for.
        part = min(1.0, row.window_s / window.seconds)
        return _summed(row, ((series, gain * part) for series, gain in self._gains(row, window)))

    def _since(self, row: Query) -> Numbers:
        # The look before was at a reading, too: the one that is nearest.
        start = self._lately.nearest(self._now_s - self._since_s)
        if start is None or start is self._lately.marks[-1]:
            return {}
        return _summed(row, self._gains(row, _Window(self._lately, start, self._lately.marks[-1])))

    def _window(self, row: Query) -> _Window | None:
        totals = self._hour if row.group == "hour" else self._lately
        start = totals.before(self._now_s - row.window_s)
        return None if start is None else _Window(totals, start, totals.marks[-1])

    def _gains(self, row: Query, window: _Window) -> Values:
        """What the series of a row gained; a stand-in counts where there is no real one of the same pod."""
        seen: set[tuple[str, ...]] = set()
        for name in row.series:
            found = [
                (series, gain)
                for series, gain in window.totals.gains(name, window.start, window.end)
                if series in self._told and not (seen and series.key(row.by) in seen)
            ]
            if len(row.series) > 1:
                seen |= {series.key(row.by) for series, _ in found}
            if row.only:
                found = [each for each in found if _counts(row, each[0])]
            yield from found


def _of(row: Query, told: PodTold) -> Sequence[tuple[Series, float]]:
    """The gauges of a row on the last page of a pod; where it has none of the first name, of the next."""
    return next((told.gauges[name] for name in row.series if name in told.gauges), ())


def _counts(row: Query, series: Series) -> bool:
    return all(series.labels.get(label) in values for label, values in row.only.items())


def _summed(row: Query, values: Iterable[tuple[Series, float]]) -> Numbers:
    found: dict[tuple[str, ...], float] = {}
    by, known = row.by, found.get
    for series, value in values:
        key = series.key(by)
        found[key] = known(key, 0.0) + value
    return found
