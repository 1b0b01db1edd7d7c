"""Reads the text of a metrics page into numbers, fast enough for a hundred pods every few seconds.

The grammar is the Prometheus client's business, and at 30 µs a line too slow to be asked for each: 100 routers of
three tiers would take a fifth of a core.  But a pod tells the same series each time, letter by letter.  So the parser
reads each series once, and afterwards only the number after it is read.

Whoever holds a pod's address may tell anything.  What no honest pod says makes its page none at all, as half a page
would be a number that is too small; and no page takes more memory, or more of a moment, than its share.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

SERIES_MAX = 300_000  # remembered; a thousand tiers behind Cascades have 80 each
TEXT_CHARS_MAX = 96 * 1024 * 1024  # of them all
LINE_CHARS_MAX = 4096  # of a series that somebody reads; four names of 253 characters, and room
LINES_MAX = 500_000  # of a page
PAGE_SERIES_MAX = 100_000  # that somebody reads, of one page
NUMBER_MAX = 1e15  # beyond it sums in floating point forget what is small
_LINES_AT_ONCE, _NEW_AT_ONCE = 20_000, 300  # 10 ms each


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
        self._chars = 0  # of its keys
        self._by_value: dict[tuple[str, tuple[tuple[str, str], ...]], Series] = {}

    def read(self, page: str) -> dict[Series, float]:
        """The numbers of one page, those that are none left out.  Raises ValueError for a page that is none."""
        found: dict[Series, float] = {}
        for part in self.parts(page):
            found |= part
        return found

    def parts(self, page: str) -> Iterator[Mapping[Series, float]]:
        """The same in parts, each of which is read in a moment.  No other page may be begun before the last part."""
        if page.count("\n") > LINES_MAX:
            raise ValueError(f"a page of more than {LINES_MAX} lines")
        # Not within a page: its series are all of one age.
        if len(self._by_value) >= SERIES_MAX or self._chars >= TEXT_CHARS_MAX:
            self._by_text.clear()
            self._by_value.clear()
            self._chars = 0
            self.age += 1
        lines = page.split("\n")
        at = count = 0
        while at < len(lines):
            part, at = self._part(lines, at)
            count += len(part)
            if count > PAGE_SERIES_MAX:
                raise ValueError(f"a page of more than {PAGE_SERIES_MAX} series")
            yield part

    def _part(self, lines: list[str], start: int) -> tuple[dict[Series, float], int]:
        """The numbers of the next lines, and where the rest begins."""
        found: dict[Series, float] = {}
        known, new, at = self._by_text, 0, start
        for line in lines[start : start + _LINES_AT_ONCE]:
            at += 1
            text, _, value = line.rpartition(" ")
            series = known.get(text)
            if series is not None:
                found[series] = float(value)
            elif line.partition("{")[0].partition(" ")[0] in self._names:
                found |= self._parsed(line, text)
                new += 1
                if new >= _NEW_AT_ONCE:
                    break
        if not all(0 <= number <= NUMBER_MAX for number in found.values()):
            found = _told(found)
        return found, at

    def series(self, name: str, labels: Mapping[str, str]) -> Series:
        """The one object of this name and these labels."""
        return self._by_value.setdefault((name, tuple(sorted(labels.items()))), Series(name, labels))

    def _parsed(self, line: str, text: str) -> Mapping[Series, float]:
        if len(line) > LINE_CHARS_MAX:
            raise ValueError(f"a series of {len(line)} characters")
        found = {}
        families: Iterable[Metric] = text_string_to_metric_families(f"{line}\n")
        for sample in (sample for family in families for sample in family.samples):
            if math.isnan(float(sample.labels.get("le", 0))):
                raise ValueError("a bucket without a bound")
            series = self.series(sample.name, sample.labels)
            found[series] = float(sample.value)
            if sample.timestamp is None:  # else the number is not what stands last
                self._by_text[text] = series
                self._chars += len(text)
        return found


def _told(found: Mapping[Series, float]) -> dict[Series, float]:
    """Without what is no number: an engine may tell NaN of a gauge, and no comparison with a limit would find it."""
    for series, number in found.items():
        if number < 0 or NUMBER_MAX < number < math.inf:
            raise ValueError(f"{series.name} is {number:g}")  # nothing that is counted is
    return {series: number for series, number in found.items() if math.isfinite(number)}
