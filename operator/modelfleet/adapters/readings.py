"""What pods told at each reading, reduced to the rows of the table (queries.py) as Prometheus would compute them.

Counters are summed up by what they gain (totals.py), gauges are kept for as long as a mean needs.  A pod counts only
while its last page is fresh: a silent one makes a number incomplete, never smaller without a word.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import pairwise

from modelfleet.adapters import queries
from modelfleet.adapters.fleet_load import Arrivals
from modelfleet.adapters.pages import Page
from modelfleet.adapters.series import Series
from modelfleet.adapters.totals import Keep, Mark, Totals
from modelfleet.adapters.windows import Look, PodTold
from modelfleet.plan.load import INTERVAL_S, MEANS_S, RATE_S
from modelfleet.plan.targets import Pod

# What a pod said is believed for so long: through one reading that got no answer.
LATE_S, ENGINE_LATE_S = 12.0, 35.0
_ROUND_S = 30.0  # room for readings that come late
_RECENT_S = RATE_S + queries.GAUGE_MEAN_S + _ROUND_S  # the mean of a minute ago

TOTALS_MAX = 500_000  # series; a thousand tiers behind Cascades have 80 each
_GAIN_PER_S_MAX = 1e9  # of anything that is counted
_NAMESPACE, _NONE = ("fleet_namespace",), ("",)

_ROWS = (*queries.TABLE, queries.COUNTS)
SERIES = frozenset(name for row in _ROWS for name in row.series)
_HOUR = frozenset(name for row in _ROWS if row.group == "hour" for name in row.series)
_ARRIVALS = frozenset(queries.COUNTS.series)
_GAINED = frozenset(
    name for row in _ROWS if row.how in ("Increase", "Rate", "Since") and row.group != "hour" for name in row.series
)  # fmt: skip
_RECENT = frozenset(name for row in _ROWS if row.how in ("Mean", "Before") for name in row.series)
_GAUGES = frozenset(
    name for row in _ROWS if row.how in ("Now", "Mean", "Before", "Max", "Age", "Instances") for name in row.series
)  # fmt: skip
_INTEGRATED = frozenset(
    name for row in _ROWS if row.how == "Mean" and row.window_s > RATE_S for name in row.series
)


class Readings:
    """Of one fleet.  Times are the reader's, in monotonic seconds."""

    def __init__(self) -> None:
        self._pods: dict[Pod, PodTold] = {}
        self._lately = Totals(Keep(1.0, RATE_S + _ROUND_S), Keep(_ROUND_S, MEANS_S + 2 * _ROUND_S))
        self._arrivals = Totals(Keep(INTERVAL_S, MEANS_S + 2 * INTERVAL_S))
        self._hour = Totals(Keep(300.0, 3600.0 + 300.0))
        self._of_pod: dict[tuple[Series, Pod], Series] = {}

    def take(self, pod: Pod, page: Page) -> None:
        """What a pod told.  Of a pod that is new only what it gains from here on counts."""
        told = self._pods.get(pod)
        if told is not None and told.page.at_s >= page.at_s:
            return
        if pod.tier is None:
            # A router knows nothing of another namespace, whatever it says.
            of_others = [one for one in page.samples if one.key(_NAMESPACE) not in (_NONE, (pod.namespace,))]
            if of_others:
                page = replace(
                    page, samples={s: v for s, v in page.samples.items() if s not in set(of_others)}
                )
        else:
            own = {self._own(series, pod): value for series, value in page.samples.items()}
            page = Page(page.at_s, own, page.age)
        # Series that were forgotten are new to us: what they gained since is not known.
        before = told.page if told is not None and told.page.age == page.age else None
        gains = {series: _gain(series, value, before, page.at_s) for series, value in page.samples.items()}
        if before is not None and max(gains.values(), default=0.0) > _GAIN_PER_S_MAX * (
            page.at_s - before.at_s
        ):
            return  # A sum would never be right again: the pod is silent until it tells what can be.
        self._add(gains)
        told = self._pods[pod] = told or PodTold(page)
        gauges: dict[str, list[tuple[Series, float]]] = {}
        for series, value in page.samples.items():
            if series.name in _GAUGES:
                gauges.setdefault(series.name, []).append((series, value))
        told.page, told.gauges = page, gauges
        told.recent.append((page.at_s, {s: v for name in _RECENT for s, v in gauges.get(name, ())}))
        while told.recent[0][0] <= page.at_s - _RECENT_S:
            told.recent.popleft()

    def _add(self, gains: Mapping[Series, float]) -> None:
        for series, gain in gains.items():
            name = series.name
            if name in _GAINED or name in _INTEGRATED:
                self._lately.add(series, gain)
            if name in _ARRIVALS:
                self._arrivals.add(series, gain)
            if name in _HOUR:
                self._hour.add(series, gain)

    def mark(self, at_s: float, pods: Collection[Pod]) -> None:
        """A reading is complete: these are all pods that there are."""
        for gone in self._pods.keys() - set(pods):
            del self._pods[gone]
        self._of_pod = {key: series for key, series in self._of_pod.items() if key[1] in self._pods}
        known = {series for told in self._pods.values() for series in told.page.samples}
        for totals in (self._lately, self._arrivals, self._hour):
            totals.mark(at_s)
            totals.keep_only(known)

    @property
    def too_much(self) -> bool:
        """Whether there are more series than a fleet can have: somebody makes them up."""
        return any(len(totals) > TOTALS_MAX for totals in (self._lately, self._arrivals, self._hour))

    @property
    def at_s(self) -> float | None:
        """When the last reading was; None: never."""
        return self._lately.marks[-1].at_s if self._lately.marks else None

    @property
    def answered(self) -> bool:
        """Whether any router did."""
        return any(pod.tier is None and self._fresh(pod, told) for pod, told in self._pods.items())

    def look(self, *, since_s: float) -> Look:
        """Everything as of the last reading.  `since_s`: how long before it the last look was."""
        return Look(
            now_s=self.at_s or 0.0,
            pods=[told for pod, told in self._pods.items() if self._fresh(pod, told)],
            lately=self._lately,
            hour=self._hour,
            since_s=since_s,
        )

    def counts(self) -> Arrivals:
        """Arrivals by Cascade in whole intervals, the newest last."""
        ends = self._ends()
        found: dict[tuple[str, ...], list[float]] = {}
        for at, (start, end) in enumerate(pairwise(ends)):
            for series, gain in self._arrivals.gains(queries.COUNTS.series[0], start, end):
                found.setdefault(series.key(queries.CASCADE), [0.0] * (len(ends) - 1))[at] += gain
        return found

    def _fresh(self, pod: Pod, told: PodTold) -> bool:
        late_s = LATE_S if pod.tier is None else ENGINE_LATE_S
        return self.at_s is not None and self.at_s - told.page.at_s <= late_s

    def _ends(self) -> list[Mark]:
        """The last reading before the end of each interval, back to an interval without any: that is no zero."""
        ends: list[Mark] = []
        if self.at_s is None:
            return ends
        at_s = self.at_s // INTERVAL_S * INTERVAL_S
        for _ in range(round(MEANS_S / INTERVAL_S) + 1):
            mark = self._arrivals.before(at_s)
            if mark is None or not at_s - INTERVAL_S < mark.at_s <= at_s:
                break
            ends.append(mark)
            at_s -= INTERVAL_S
        return ends[::-1]

    def _own(self, series: Series, pod: Pod) -> Series:
        """An engine's series as a scrape of its pod would label it."""
        key = (series, pod)
        if key not in self._of_pod:
            labels = {"namespace": pod.namespace, "pod": pod.name, "instance": f"{pod.address}:{pod.port}"}
            self._of_pod[key] = Series(series.name, {**series.labels, **labels})
        return self._of_pod[key]


def _gain(series: Series, value: float, before: Page | None, at_s: float) -> float:
    """What a counter gained since the page before, or a gauge's integral over that time."""
    if before is None:
        return 0.0
    if series.name in _INTEGRATED:
        return value * (at_s - before.at_s)
    had = before.samples.get(series, 0.0)  # a counter begins at zero, when its pod or its tier does
    return value - had if value >= had else value
