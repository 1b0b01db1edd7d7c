"""How much slower or faster the engines are than their profile says, from what they show under load."""

from collections.abc import Sequence
from statistics import median

SAMPLES_MAX = 40
_SAMPLES_MIN = 8
_FACTOR_MIN, _FACTOR_MAX = 0.6, 1.8  # beyond it the profile is wrong, and no factor mends it
_OUTLIER = 4.0  # median deviations from the median
_DEVIATION_MIN = 0.02


def slowness(observed_s: float, *, empty_s: float, load: float) -> float:
    """How many times slower all parts of a step must be for it to last that long.

    `empty_s`: a step with nothing in it, `load`: the part of the time that the work takes, both as the profile says.
    A step lasts `f * empty_s / (1 - f * load)`, so near saturation a few percent of slowness show as many times the
    step: their plain ratio would be learned as far too much.
    """
    return observed_s / (empty_s + observed_s * load)


def remember(samples: Sequence[float], ratio: float) -> tuple[float, ...]:
    """The samples with one more `slowness`."""
    known = sorted(samples)
    if len(known) >= _SAMPLES_MIN:
        middle = median(known)
        spread = max(_DEVIATION_MIN, median(abs(one - middle) for one in known))
        if abs(ratio - middle) > _OUTLIER * spread:
            # Kept all the same, drawn to the fence: else a real change could never be learned.
            ratio = middle + _OUTLIER * spread * (1 if ratio > middle else -1)
    return (*samples, ratio)[-SAMPLES_MAX:]


def factor(samples: Sequence[float]) -> float:
    """What step times are multiplied with; 1 while too little is known."""
    if len(samples) < _SAMPLES_MIN:
        return 1.0
    return min(_FACTOR_MAX, max(_FACTOR_MIN, median(samples)))
