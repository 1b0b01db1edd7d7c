"""Which tier a request enters, where it goes when that fails, and which replica takes it.

Randomness and load come in as arguments; nothing here keeps state between two requests.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Protocol, TypeVar

# A request that fails everywhere must not multiply the load that made it fail.
ATTEMPTS_PER_TIER = 3
ATTEMPTS_MAX = 6


class Replica(Protocol):
    """Something that takes requests.  `in_flight`: requests it has not finished."""

    @property
    def in_flight(self) -> int: ...


R = TypeVar("R", bound=Replica)
R_co = TypeVar("R_co", bound=Replica, covariant=True)


class Step(Protocol[R_co]):
    """One tier of a cascade with its usable replicas."""

    @property
    def replicas(self) -> Sequence[R_co]: ...


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
    """The untried replica with the fewest requests in flight; `turn` rotates who wins a tie."""
    best: R | None = None
    count = len(replicas)
    for offset in range(count):
        replica = replicas[(turn + offset) % count]
        if (best is None or replica.in_flight < best.in_flight) and replica not in tried:
            best = replica
    return best


def attempts(order: Sequence["Step[R]"], *, turn: int) -> Iterator[tuple[int, R]]:
    """Index in `order` and replica of each attempt of one request, lazily: load is read when an attempt begins."""
    left = ATTEMPTS_MAX
    for index, step in enumerate(order):
        tried: list[R] = []
        while len(tried) < ATTEMPTS_PER_TIER and left:
            replica = least_busy(step.replicas, tried=tried, turn=turn)
            if replica is None:
                break
            tried.append(replica)
            left -= 1
            yield index, replica
