"""Which tier a request enters, where it goes when that fails, and which replica takes it.

Randomness and load come in as arguments; nothing here keeps state between two requests.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Final, Generic, Protocol, TypeVar

# A request that fails everywhere must not multiply the load that made it fail.
ATTEMPTS_PER_TIER: Final = 3
ATTEMPTS_MAX: Final = 6


class Replica(Protocol):
    """Something that takes requests: `in_flight` it has not finished, of `room` that it may have at a time."""

    @property
    def in_flight(self) -> int: ...
    @property
    def room(self) -> int: ...


R = TypeVar("R", bound=Replica)
S = TypeVar("S")


def bounds(weights_permille: Sequence[int]) -> tuple[int, ...]:
    """Running sums of the weights, what `entry` searches."""
    return tuple(accumulate(weights_permille))


def entry(bounds_permille: Sequence[int], spin: float) -> int:
    """Index of the tier where a request starts.  `spin` is uniform in [0, 1).

    A tier of weight 0 is never entered, except that all-zero weights mean the first tier.
    """
    total = bounds_permille[-1]
    return bisect_right(bounds_permille, spin * total) if total else 0


def fallback(steps: Sequence[S], start: int) -> tuple[S, ...]:
    """The steps in the order a request tries them: where it enters, then the dearer ones, then the cheaper.

    Dearer first, because an answer that is better than asked for is no loss; among the cheaper ones the best first.
    """
    return (*steps[start:], *reversed(steps[:start]))


def least_busy(replicas: Sequence[R], *, tried: Collection[R], turn: int) -> R | None:
    """The untried replica that has room and the fewest requests in flight; `turn` rotates who wins a tie."""
    best: R | None = None
    count = len(replicas)
    for offset in range(count):
        replica = replicas[(turn + offset) % count]
        flying = replica.in_flight
        if flying < replica.room and (best is None or flying < best.in_flight) and replica not in tried:
            best = replica
    return best


class Tries(Generic[S, R]):
    """Where one request is on its way through the steps, and what it has tried there."""

    __slots__ = ("_index", "_left", "order", "tried", "turn")

    def __init__(self, order: Sequence[S], *, turn: int) -> None:
        self.order = order
        self.turn = turn
        self.tried: list[R] = []  # at the present step
        self._index = 0
        self._left = ATTEMPTS_MAX

    def step(self) -> S | None:
        """The step where the next attempt belongs; None when there is none left."""
        return self.order[self._index] if self._left and self._index < len(self.order) else None

    def began(self, replica: R) -> None:
        """An attempt began."""
        self.tried.append(replica)
        self._left -= 1

    def ended(self, outcome: str) -> None:
        """The attempt ended, with this word for how: for those who keep accounts."""

    def over(self, steps: Sequence[S]) -> "Tries[S, R]":
        """The tries of the same request at other steps, from the beginning."""
        return Tries(steps, turn=self.turn)

    def stop(self) -> None:
        """Nothing more at any step."""
        self._left = 0

    def seen(self) -> Sequence[S]:
        """The present step and those before it."""
        return self.order[: self._index + 1]

    def rest(self) -> Sequence[S]:
        """The steps after the present one."""
        return self.order[self._index + 1 :]

    def skip_to(self, steps: Sequence[S]) -> bool:
        """Nothing more but at these, in their order; False, and all stays as it is, when there are none."""
        if not steps:
            return False
        self.order, self._index, self.tried = steps, 0, []
        return True

    def move_on(self) -> None:
        """Nothing more at this step."""
        self._index += 1
        self.tried = []
