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
# Before there is a past: what growth was in nine cases of ten on the traces of the study, over ten minutes.
_PRIOR_RATIO = 1.3
_PRIOR_COUNT = 8  # looks that the prior weighs


@dataclass(frozen=True, slots=True)
class Forecast:
    """Requests per second."""

    now_rps: float
    later_rps: float  # the quantile of the largest level until the horizon
    ratio: float


def level(rates_rps: Sequence[float], *, look_s: float) -> float:
    """The present rate, on the safe side: the newest look or a minute's mean, whichever is more."""
    if not rates_rps:
        return 0.0
    looks = max(1, round(_SMOOTH_S / look_s))
    recent = rates_rps[-looks:]
    return max(sum(recent) / len(recent), (rates_rps[-1] + sum(recent)) / (1 + len(recent)))


def growth(rates_rps: Sequence[float], *, look_s: float, horizon_s: float) -> list[float]:
    """How many times the level became within the horizon, every time in the past that can tell, in order."""
    ahead = max(1, round(horizon_s / look_s))
    looks = max(1, round(_SMOOTH_S / look_s))
    known = rates_rps[-(round(_WINDOW_S / look_s) + ahead + looks) :]
    smooth = _smooth(known, looks)
    highest = _highest(smooth, ahead)
    ratios = [
        min(_RATIO_MAX, high / before) for before, high in zip(smooth, highest, strict=False) if before > 0
    ]
    ratios += [_PRIOR_RATIO] * max(0, _PRIOR_COUNT - len(ratios) // 4)
    ratios.sort()
    return ratios


def ratio(ratios: Sequence[float], quantile: float) -> float:
    """That quantile of what `growth` found, never less than staying as it is."""
    return max(1.0, ratios[min(len(ratios) - 1, int(quantile * len(ratios)))])


def forecast(rates_rps: Sequence[float], *, look_s: float, horizon_s: float, quantile: float) -> Forecast:
    """`rates_rps`: one per look, the oldest first; `horizon_s`: until a replica that is ordered now can help."""
    times = ratio(growth(rates_rps, look_s=look_s, horizon_s=horizon_s), quantile)
    now = level(rates_rps, look_s=look_s)
    return Forecast(now_rps=now, later_rps=now * times, ratio=times)


def _smooth(rates: Sequence[float], looks: int) -> list[float]:
    """Means of up to `looks` rates, each with those before it."""
    sums = list(accumulate(rates, initial=0.0))
    starts = (max(0, at - looks) for at in range(1, len(sums)))
    return [(sums[at] - sums[start]) / (at - start) for at, start in enumerate(starts, start=1)]


def _highest(levels: Sequence[float], ahead: int) -> list[float]:
    """The largest of the `ahead` levels after each that has so many after it."""
    return [max(levels[at + 1 : at + 1 + ahead]) for at in range(len(levels) - ahead)]
