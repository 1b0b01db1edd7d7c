"""How many requests will come while a new replica starts: persistence times what growth has been, as quantiles.

Trend and same-time-yesterday lose to persistence on real traffic (our study of ServeGen); what is worth knowing is how
far the rate may run away within one cold start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

_WINDOW_S = 1440.0  # of the past that tells about growth
_RATIO_MAX = 4.0  # a rate that starts from nothing has no ratio worth the name
_SMOOTH_S = 60.0
_ALIKE = 0.25  # of the present level: what a lower one once grew by says nothing of it
_LATELY_S = 300.0
_BURST_S = 120.0  # what comes for longer is no burst
# Before there is a past: what growth was in nine cases of ten on the traces of the study, over ten minutes.
_PRIOR_RATIO = 1.3
_PRIOR_COUNT = 8  # looks that the prior weighs
_RISES_MIN = 16  # looks behind it before a rise is believed to be the largest


@dataclass(frozen=True, slots=True)
class Growth:
    """What the level did within the horizon, every time in the past that can tell, in order.

    `ratios`: how many times it became; `rises_rps`: by how much it rose.
    """

    ratios: Sequence[float]
    rises_rps: Sequence[float]

    def later_rps(self, now_rps: float, quantile: float) -> float:
        """The largest level within the horizon, at that quantile; never less than staying as it is.

        The smaller of both ways to read the past: a load that doubled from next to nothing will not double again, one
        that once rose by much while it was large will not rise as much while it is small.
        """
        later_rps = now_rps * max(1.0, _at(self.ratios, quantile))
        if len(self.rises_rps) < _RISES_MIN:
            # Too few for a quantile: what any load may grow by, and beside it no more than it ever rose.
            return min(later_rps, now_rps * _PRIOR_RATIO + max((0.0, *self.rises_rps)))
        return min(later_rps, now_rps + max(0.0, _at(self.rises_rps, quantile)))


def level(rates_rps: Sequence[float], *, look_s: float) -> float:
    """The present rate, on the safe side: the newest look or a minute's mean, whichever is more."""
    if not rates_rps:
        return 0.0
    looks = max(1, round(_SMOOTH_S / look_s))
    recent = rates_rps[-looks:]
    return max(sum(recent) / len(recent), (rates_rps[-1] + sum(recent)) / (1 + len(recent)))


def lasting(rates_rps: Sequence[float], *, look_s: float) -> float:
    """What came lately and is no burst: the mean of five minutes, or the least of the last two where that is more."""
    lately = rates_rps[-max(1, round(_LATELY_S / look_s)) :]
    newest = lately[-max(1, round(_BURST_S / look_s)) :]
    return max(sum(lately) / max(1, len(lately)), min(newest, default=0.0))


def growth(rates_rps: Sequence[float], *, look_s: float, horizon_s: float) -> Growth:
    """`rates_rps`: one per look, the oldest first; `horizon_s`: until a replica that is ordered now can help."""
    ahead = max(1, round(horizon_s / look_s))
    looks = max(1, round(_SMOOTH_S / look_s))
    smooth = _smooth(rates_rps[-(round(_WINDOW_S / look_s) + ahead + looks) :], looks)
    both = [
        (before, high)
        for before, high in zip(smooth, _highest(smooth, ahead), strict=False)
        if before >= _ALIKE * smooth[-1]
    ]
    ratios = [min(_RATIO_MAX, high / before) for before, high in both if before > 0]
    ratios += [_PRIOR_RATIO] * max(0, _PRIOR_COUNT - len(ratios) // 4)
    return Growth(sorted(ratios), sorted(high - before for before, high in both))


def _at(ordered: Sequence[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


def _smooth(rates: Sequence[float], looks: int) -> list[float]:
    """Means of up to `looks` rates, each with those before it."""
    sums = list(accumulate(rates, initial=0.0))
    starts = (max(0, at - looks) for at in range(1, len(sums)))
    return [(sums[at] - sums[start]) / (at - start) for at, start in enumerate(starts, start=1)]


def _highest(levels: Sequence[float], ahead: int) -> list[float]:
    """The largest of the `ahead` levels after each that has so many after it."""
    return [max(levels[at + 1 : at + 1 + ahead]) for at in range(len(levels) - ahead)]
