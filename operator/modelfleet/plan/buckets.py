"""A histogram as it was gained over a window: quantiles, means, and how much of it lies within a bound.

Read as Prometheus' `histogram_quantile` reads one: inside a bucket values lie evenly, and what lies beyond the last
bound lies at it.  So a figure is as exact as its bucket is narrow.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buckets:
    """Values by upper bound, in the unit of the bounds: seconds, or log probabilities for scores.

    `bounds` ascend and end with infinity; `counts[i]` values lie at or below `bounds[i]`, so counts ascend, too.
    Counts are amounts and no whole numbers: a store extrapolates.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float | None = None  # of all values; None: not told, as for scores

    @classmethod
    def of(cls, counts: Mapping[float, float], *, total: float | None = None) -> "Buckets | None":
        """From cumulative counts by upper bound; None without the infinite one, which alone is complete."""
        if math.inf not in counts or any(not 0 <= count < math.inf for count in counts.values()):
            return None
        bounds = tuple(sorted(counts))
        cumulative, seen = [], 0.0
        for bound in bounds:
            # Routers of two versions, or an extrapolation, may make them descend a little.
            seen = max(seen, counts[bound])
            cumulative.append(seen)
        return cls(bounds, tuple(cumulative), total)

    @property
    def count(self) -> float:
        """How many values there are."""
        return self.counts[-1]

    @property
    def mean(self) -> float | None:
        """None where nothing was measured."""
        return self.sum / self.count if self.sum is not None and self.count > 0 else None

    def quantile(self, share: float) -> float | None:
        """What a share of the values, 0 to 1, lies at or below; None where nothing was measured."""
        if self.count <= 0:
            return None
        rank = share * self.count
        at = min(bisect_left(self.counts, rank), len(self.bounds) - 1)
        if math.isinf(self.bounds[at]):
            return self.bounds[at - 1] if at else None
        low, before = self._edge_below(at)
        inside = self.counts[at] - before
        return low + (self.bounds[at] - low) * (rank - before) / inside if inside > 0 else self.bounds[at]

    def within(self, bound: float) -> float | None:
        """The share of the values, 0 to 1, at or below `bound`; None where nothing was measured.

        Exact at a bound of the histogram.  Between two of them the values of that bucket count in proportion, as
        they are taken to lie evenly; beyond the last finite one none does, since nobody knows how far they went.
        """
        if self.count <= 0:
            return None
        at = bisect_left(self.bounds, bound)
        low, before = self._edge_below(at)
        if math.isinf(self.bounds[at]):
            return before / self.count
        width = self.bounds[at] - low
        part = (bound - low) / width if width > 0 else float(bound >= low)
        return (before + (self.counts[at] - before) * min(1.0, max(0.0, part))) / self.count

    def _edge_below(self, at: int) -> tuple[float, float]:
        """Where the bucket begins, and how many values lie below it."""
        if at:
            return self.bounds[at - 1], self.counts[at - 1]
        # As Prometheus does: times begin at zero, and a first bucket below zero has no width.
        return min(0.0, self.bounds[0]), 0.0
