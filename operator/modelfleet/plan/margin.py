"""Room for bursts that are shorter than any forecast: square-root staffing, as wide as the traffic is uneven.

Requests that come in `n` independent clumps vary as the square root of `n`, so a large tier needs a smaller part as
room than a small one.  How wide is learned from what was attained: misses widen it at once, an hour without narrows
it slowly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

DISPERSION_MAX = 400.0  # one outage of a client is no property of the traffic
_NARROW_PER_HOUR = 0.5
_WIDEN_PER_HOUR = 4.0
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Attained:
    """Answers of about an hour, and those within the objectives; the older, the less they count."""

    answers: float = 0.0
    good: float = 0.0

    @property
    def share(self) -> float | None:
        """None: nobody asked."""
        return self.good / self.answers if self.answers >= 1 else None

    def after(self, answers: float, *, good: float, seconds: float) -> "Attained":
        """With those of one look."""
        keep = max(0.0, 1 - seconds / _HOUR_S)
        return Attained(self.answers * keep + answers, self.good * keep + good)


def dispersion(counts: Sequence[float]) -> float:
    """How uneven arrivals are: variance over mean of counts in equal intervals; 1 is Poisson.

    Taken from differences of neighbours, so a load that rises or falls steadily is not uneven.
    """
    total = sum(counts)
    pairs = len(counts) - 1
    if pairs < 1 or total <= 0:
        return 1.0
    squares = sum((after - before) ** 2 for before, after in pairwise(counts))
    return min(DISPERSION_MAX, max(1.0, squares / (2 * pairs) / (total / len(counts))))


def room_rps(rate_rps: float, dispersion_: float, *, interval_s: float, deviations: float) -> float:
    """So many standard deviations of the rate over one interval.  `dispersion_`: of counts in such intervals."""
    return deviations * math.sqrt(max(0.0, rate_rps) * dispersion_ / interval_s)


def adapted(
    deviations: float, *, attained: float | None, goal: float, base: float, reach: float, seconds: float
) -> float:
    """The width for the next look, within `reach` of `base`.  `attained`: over the last hour; None: nobody asked."""
    if attained is None:
        return deviations
    if attained < goal:
        change = _WIDEN_PER_HOUR * min(1.0, (goal - attained) / (1 - goal)) * seconds / _HOUR_S
    elif attained > (1 + goal) / 2:
        change = -_NARROW_PER_HOUR * seconds / _HOUR_S
    else:
        change = 0.0
    return min(base + reach, max(base - reach, 0.0, deviations + change))
