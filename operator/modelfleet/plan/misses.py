"""How many requests miss the time between tokens though nothing queues, and where a cascade best spends such misses.

A mean step time says nothing about a short answer beside a long prompt.  What part of the requests misses grows about
as the fourth power of the mean step over its goal - so it does at request level for every engine and mix of lengths
that we ran, from a tenth of a percent to a third - and only the factor before it differs, by fifty times.  So the
factor is learned from what each tier shows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

POWER = 4
_PRIOR = 0.4  # 1 % at two fifths of the goal, as 914 and 155 tokens on one H100
_PRIOR_MISSES = 10.0  # that the prior weighs
_FORGET_S = 3600.0
_PART_MAX = 3.0  # beyond it an engine is all but saturated
_LOAD_MIN = 0.25  # of what the mean would allow
_WORTH_LOG2 = (-20.0, 30.0)
_SEARCHES, _STEPS = 16, 11  # of the two bisections


@dataclass(frozen=True, slots=True)
class Seen:
    """What one tier has shown lately.  `exposure`: answers times the fourth power of the step over its goal."""

    exposure: float = 0.0
    missed: float = 0.0

    @property
    def factor(self) -> float:
        """Part of the answers that would miss with a mean step as long as the goal, if the power held that far."""
        return (_PRIOR_MISSES + self.missed) / (_PRIOR_MISSES / _PRIOR + self.exposure)

    def after(self, answers: float, *, missed: float, part: float, seconds: float) -> "Seen":
        """With the answers of one look.  `part`: the mean step, over its goal."""
        keep = max(0.0, 1 - seconds / _FORGET_S)
        return Seen(self.exposure * keep + answers * part**POWER, self.missed * keep + missed)


@dataclass(frozen=True, slots=True)
class Spender:
    """One tier.  `work_s`: of one request in all steps; `empty`: a step with nothing in it, over the goal."""

    share: float
    price: float
    work_s: float
    empty: float
    factor: float

    def replicas(self, rate_rps: float, worth: float) -> int:
        """The whole number of replicas that costs least at this rate, where a missed request costs as much as `worth`.

        Neither always up nor always down: misses of a moment with one replica too few pay for one with one too many.
        """
        if self.empty >= 1 or rate_rps <= 0:
            return 0
        exact = rate_rps * self.work_s / (1 - self.empty / self.part(worth))
        return min((math.floor(exact), math.ceil(exact)), key=lambda n: self._costs(n, rate_rps, worth))

    def _costs(self, replicas: int, rate_rps: float, worth: float) -> float:
        load = rate_rps * self.work_s / replicas if replicas else 1.0
        if load >= 1 - self.empty:  # beyond what the mean allows
            return math.inf
        part = self.empty / (1 - load)
        return self.price * replicas + worth * rate_rps * self.factor * part**POWER

    def part(self, worth: float) -> float:
        """The mean step, over its goal, where one more miss saves `worth`.

        There `(part - empty)^2 * part^3 = price * work * empty / (4 * worth * factor)`.
        """
        if self.empty >= 1:
            return 1.0
        wanted = self.price * self.work_s * self.empty / (POWER * worth * self.factor)
        # What even a nearly idle replica misses, no number of replicas will mend.
        low, high = self.empty / (1 - _LOAD_MIN * (1 - self.empty)), _PART_MAX
        if (high - self.empty) ** 2 <= wanted:
            return high
        for _ in range(_STEPS):
            middle = (low + high) / 2
            enough = (middle - self.empty) ** 2 * middle ** (POWER - 1) < wanted
            low, high = (middle, high) if enough else (low, middle)
        return high


def worth(tiers: Sequence[Spender], allowed: float) -> float:
    """What a missed request must be worth so that `allowed` of all requests miss, at the least cost.

    A request costs `price * work / (1 - empty / part)`; at the optimum every tier saves as much by one more miss, so
    a dear tier gets most of them.
    """
    low, high = _WORTH_LOG2
    for _ in range(_SEARCHES):
        middle = (low + high) / 2
        missed = sum(tier.share * tier.factor * tier.part(2.0**middle) ** POWER for tier in tiers)
        low, high = (middle, high) if missed > allowed else (low, middle)
    return float(2.0**high)
