"""A replica that has just become ready gets its part of the load step by step, where others have it in hand.

Whoever sends each request to the least busy replica sends all of them to a new one, until it is as busy as the rest:
a burst of prompts at once, to an engine that has nothing in its caches, over connections that are not open yet.  So for
a while it counts as busier than it is, by a factor that falls to 1.  Envoy calls that slow start, HAProxy slowstart.

The window is no setting.  It is short beside the minute or more that a replica took to start, and the ten seconds in
which one comes back that was taken out (route/health.py); longer would waste what was ordered because it is needed.
Nothing is refused for it: when the others are full, a new replica takes what it has places for.
"""

from collections.abc import Collection, Sequence
from typing import Final, Generic, Protocol, TypeVar

from modelfleet.route import affinity

WINDOW_S: Final = 10.0
LEAST: Final = 0.1  # of a whole weight, at the beginning


class Replica(affinity.Replica, Protocol):
    """`warmth`: its weight, above 0; 1 for all but new ones."""

    warmth: float


R = TypeVar("R", bound=Replica)


class Warmup(Generic[R]):
    """The new replicas of one tier.  Time is monotonic seconds and comes in."""

    __slots__ = ("_since_s",)

    def __init__(self) -> None:
        self._since_s: dict[R, float] = {}

    def __len__(self) -> int:
        """How many are new now."""
        return len(self._since_s)

    def arrive(self, before: Collection[R], now: Sequence[R], now_s: float) -> None:
        """The tier's replicas were these and are those now.

        New are only those that come beside a warm one: where all begin together, each has to take its part at once.
        """
        stayed = [replica for replica in now if replica in before]
        warm = [replica for replica in stayed if replica not in self._since_s]
        new = {replica: self._since_s.get(replica, now_s) for replica in now if replica not in warm}
        for gone in self._since_s.keys() - new.keys():
            gone.warmth = 1.0
        self._since_s = new if warm else {}
        for replica in () if warm else now:
            replica.warmth = 1.0
        self.ramp(now_s)

    def ramp(self, now_s: float) -> None:
        """Let time pass."""
        for replica, since_s in list(self._since_s.items()):
            replica.warmth = min(1.0, max(LEAST, (now_s - since_s) / WINDOW_S))
            if replica.warmth >= 1.0:
                del self._since_s[replica]


def least_busy(replicas: Sequence[R], *, tried: Collection[R], turn: int) -> R | None:
    """As `choose.least_busy`, with what each would have under way then over its weight."""
    best: R | None = None
    least = 0.0
    count = len(replicas)
    for offset in range(count):
        replica = replicas[(turn + offset) % count]
        flying = replica.in_flight
        load = (flying + 1) / replica.warmth
        if flying < replica.room and (best is None or load < least) and replica not in tried:
            best, least = replica, load
    return best


def choose_of(replicas: Sequence[R], *, tried: Collection[R], turn: int, wanted: int | None) -> R | None:
    """The replica for one request while some are new.  `wanted`: the key of its beginning, where that decides."""
    if wanted is None:
        return least_busy(replicas, tried=tried, turn=turn)
    found = affinity.preferred(_fit(replicas), tried=tried, wanted=wanted)
    return found or affinity.preferred(replicas, tried=tried, wanted=wanted)


def _fit(replicas: Sequence[R]) -> list[R]:
    """Without the new ones that have their part of what the others have."""
    warm = [replica.in_flight for replica in replicas if replica.warmth >= 1.0]
    mean = (sum(warm) + 1) / max(1, len(warm))
    return [each for each in replicas if each.warmth >= 1.0 or each.in_flight + 1 <= each.warmth * mean]
