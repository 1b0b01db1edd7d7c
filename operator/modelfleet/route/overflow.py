"""How many requests may leave the tier that cannot take them, and for which cause one does.

The next tier is usually dearer, so what goes there by accident is bounded: a share of all requests of the Cascade.
"""

from modelfleet.route import waiting

COLD = "Cold"  # the tier has no replica
SATURATED = "Saturated"  # its places are taken, or its rate is used up
ERROR = "Error"  # its replicas fail, or are out because they failed

WINDOW_S = 60.0
_SLOTS = 12
_SLOT_S = WINDOW_S / _SLOTS
_COST = 100  # points of one overflow; a request earns its Cascade as many as its share is percent


def cause(why: str, *, replicas: int, external: bool) -> str:
    """Why a tier does not take a request, as the user's rule names it.

    `why`: the pool's own word; empty: the request would have to wait.

    An API without a replica lacks its key or its address: that is a fault, and nothing is on its way to mend it.
    """
    if why in waiting.BUSY:
        return SATURATED
    if why.startswith("Hold") or not (replicas or external):
        return COLD
    return ERROR if why else SATURATED


class Share:
    """The requests of one Cascade at one router, and how many of them may still overflow.

    Every request earns a part of an overflow, and what the last minute's requests have earned is kept.  So of all
    requests ever, no more than `percent` and one overflow; and a burst is no larger than the share of the minute
    before it, however long it was calm.
    """

    __slots__ = ("_counts", "_points", "_slot", "overflowed", "percent", "requests")

    def __init__(self, percent: int) -> None:
        """`percent` may be set again at any time."""
        self.percent = percent
        self.requests = 0  # in the window
        self.overflowed = 0  # ever
        self._points = _COST  # one in advance: the first request of all may meet a tier that is cold
        self._counts = [0] * _SLOTS
        self._slot = 0

    @property
    def left(self) -> int:
        """How many requests may overflow now."""
        return self._points // _COST

    def request(self, now_s: float) -> None:
        """A request has begun.  `now_s` never goes back."""
        self._move(now_s)
        self._counts[self._slot % _SLOTS] += 1
        self.requests += 1
        self._points = min(self._points + self.percent, self._most())

    def take(self, now_s: float) -> bool:
        """Whether one more request may overflow; if so it is counted."""
        self._move(now_s)
        if self._points < _COST:
            return False
        self._points -= _COST
        self.overflowed += 1
        return True

    def _most(self) -> int:
        return max(_COST, self.percent * self.requests)

    def _move(self, now_s: float) -> None:
        """Forget what is older than the window, and what it has earned."""
        slot = int(now_s // _SLOT_S)
        if slot == self._slot:
            return
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            self.requests -= self._counts[passed % _SLOTS]
            self._counts[passed % _SLOTS] = 0
        self._slot = slot
        self._points = min(self._points, self._most())
