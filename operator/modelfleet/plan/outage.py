"""Traffic that stops altogether is an outage before it is a smaller load.

Load that goes away leaves gradually.  Where many came at every look and then nobody comes at all, what failed is more
often whatever lies before us, and all of them come back at once; so nothing shrinks for a while.
"""

from collections.abc import Sequence

_BUSY_S = 900.0  # before it, in which requests came at every look
_BUSY = 20.0  # requests at a look, on average
_WAIT_S = 1500.0  # that replicas are worth being kept for


def stopped(rates_rps: Sequence[float], *, look_s: float) -> bool:
    """Whether nobody came lately where many did all the time before.  `rates_rps`: by look, the newest last."""
    quiet = next((back for back, rate in enumerate(reversed(rates_rps)) if rate > 0), len(rates_rps))
    looks = round(_BUSY_S / look_s)
    before = rates_rps[-quiet - looks : -quiet] if quiet else ()
    if not 0 < quiet <= _WAIT_S / look_s or len(before) < looks:
        return False
    return min(before) > 0 and sum(before) * look_s >= _BUSY * looks
