"""Reads the text of a metrics page into numbers, fast enough for a hundred pods every few seconds.

The grammar is the Prometheus client's business, and at 30 µs a line too slow to be asked for each: 100 routers of
three tiers would take a fifth of a core.  But a pod tells the same series each time, letter by letter.  So the parser
reads each series once, and afterwards only the number after it is read.
"""

import math
from collections.abc import Collection, Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

SERIES_MAX = 300_000  # remembered; a thousand tiers behind Cascades have 80 each


class Series:
    """One series, the same object wherever it is met: compared by identity, which is what makes sums cheap."""

    __slots__ = ("_keys", "labels", "name")

    def __init__(self, name: str, labels: Mapping[str, str]) -> None:
        self.name = name
        self.labels = labels
        self._keys: dict[tuple[str, ...], tuple[str, ...]] = {}

    def key(self, by: tuple[str, ...]) -> tuple[str, ...]:
        """The values of these labels, empty where it has none."""
        found = self._keys.get(by)
        if found is None:
            found = self._keys[by] = tuple(self.labels.get(label, "") for label in by)
        return found

    def __repr__(self) -> str:
        return f"{self.name}{dict(self.labels)}"


class SeriesReader:
    """Reads the series of certain names; of all others it reads no number."""

    def __init__(self, names: Collection[str]) -> None:
        self.age = 0  # how often it has forgotten all series: those of another age are other objects
        self._names = frozenset(names)
        self._by_text: dict[str, Series] = {}
        self._by_value: dict[tuple[str, tuple[tuple[str, str], ...]], Series] = {}

    def read(self, page: str) -> dict[Series, float]:
        """The numbers of one page, those that are none left out.  Raises ValueError for a page that is none."""
        if len(self._by_value) >= SERIES_MAX:  # not within a page: its series are all of one age
            self._by_text.clear()
            self._by_value.clear()
            self.age += 1
        found: dict[Series, float] = {}
        known = self._by_text
        for line in page.splitlines():
            text, _, value = line.rpartition(" ")
            series = known.get(text)
            if series is not None:
                found[series] = float(value)
            elif line.partition("{")[0].partition(" ")[0] in self._names:
                found |= self._parsed(line, text)
        if not all(map(math.isfinite, found.values())):
            # An engine may tell NaN of a gauge, and no comparison with a limit would find it.
            found = {series: number for series, number in found.items() if math.isfinite(number)}
        return found

    def series(self, name: str, labels: Mapping[str, str]) -> Series:
        """The one object of this name and these labels."""
        return self._by_value.setdefault((name, tuple(sorted(labels.items()))), Series(name, labels))

    def _parsed(self, line: str, text: str) -> Mapping[Series, float]:
        found = {}
        families: Iterable[Metric] = text_string_to_metric_families(f"{line}\n")
        for sample in (sample for family in families for sample in family.samples):
            series = self.series(sample.name, sample.labels)
            found[series] = float(sample.value)
            if sample.timestamp is None:  # else the number is not what stands last
                self._by_text[text] = series
        return found
