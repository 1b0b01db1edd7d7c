"""How many requests will come while a new replica starts: persistence times what growth has been, as quantiles.

Trend and same-time-yesterday lose to persistence on real traffic (our study of ServeGen); what is worth knowing is how
far the rate may run away within one cold start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

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


def forecast(rates_rps: Sequence[float], *, look_s: float, horizon_s: float, quantile: float) -> Forecast:
    """`rates_rps`: one per look, the oldest first; `horizon_s`: until a replica that is ordered now can help."""
    ahead = max(1, round(horizon_s / look_s))
    looks = max(1, round(_SMOOTH_S / look_s))
    known = rates_rps[-(round(_WINDOW_S / look_s) + ahead + looks) :]
    smooth = [fmean(known[max(0, at - looks + 1) : at + 1]) for at in range(len(known))]
    ratios = []
    for at in range(len(smooth) - ahead):
        before = smooth[at]
        if before > 0:
            ratios.append(min(_RATIO_MAX, max(smooth[at + 1 : at + 1 + ahead]) / before))
    ratios += [_PRIOR_RATIO] * max(0, _PRIOR_COUNT - len(ratios) // 4)
    ratios.sort()
    ratio = ratios[min(len(ratios) - 1, int(quantile * len(ratios)))]
    now = level(rates_rps, look_s=look_s)
    return Forecast(now_rps=now, later_rps=now * max(1.0, ratio), ratio=ratio)
