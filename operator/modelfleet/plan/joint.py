"""Replicas of all tiers of one cascade in one decision, by cost.

The cheap tiers and the dear one share their peaks: the router moves requests between them within a second, so a
quantile of the total has to fit into both together, and each alone only has to carry what it owes on average.
Sizing from total arrivals times the planned share - never from the traffic that the router has just moved - is what
keeps the dear tier from growing with every burst that it was asked to take.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

# Tiers beside the one that fills which may get more than they owe: each makes three times the choices.
_WIDE = 4
_CENT = 1e-6  # what sums of prices are off by
ANY = 1_000_000  # replicas: no bound


@dataclass(frozen=True, slots=True)
class Option:
    """One tier to size."""

    name: str
    carries_rps: float  # one replica, within the objectives
    price: float  # of one replica, in any unit that all share
    least: int  # what it needs for what it must carry alone
    replicas_min: int
    replicas_max: int
    now: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Replicas by tier, and the constraint on them: a tier's own share, all together, Minimum, Maximum or Budget.

    `feasible`: they carry what they are to carry; `most`: that money allows of each tier beside the others.
    """

    replicas: tuple[int, ...]
    bound: tuple[str, ...]
    feasible: bool
    most: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """What replicas may cost somebody: dollars an hour of each tier's replica to them, and of all together."""

    each: tuple[float, ...]
    all: float

    def left(self, replicas: Sequence[int]) -> float:
        """Dollars an hour beside so many; below zero: they cost more."""
        return self.all - math.fsum(n * price for n, price in zip(replicas, self.each, strict=True)) + _CENT


def choose(
    options: Sequence[Option],
    peak_rps: float,
    bounds: Sequence[Bound] = (),
    *,
    lasting_rps: float = math.inf,
) -> Choice:
    """The cheapest replicas that carry what each owes alone and `peak_rps` together.

    Where maxReplicas or `bounds` do not allow it: as many as there may be, `feasible` False, but of the dear tiers no
    more than `lasting_rps` needs: a burst beyond what the cheapest may have is over before they are there.
    """
    free = _free(options, peak_rps, lasting_rps)
    found = free if _covered(free.replicas, bounds) else _cut(options, free, bounds)
    return replace(found, most=tuple(_most(found.replicas, at, bounds) for at in range(len(options))))


def _covered(replicas: Sequence[int], bounds: Sequence[Bound]) -> bool:
    return all(bound.left(replicas) >= 0 for bound in bounds)


def _cut(options: Sequence[Option], free: Choice, bounds: Sequence[Bound]) -> Choice:
    """As many of the wanted replicas as the money allows.

    Minimums whatever they cost, then what each tier owes alone, cheapest first, then what is for peaks.
    """
    counts = [min(n, option.replicas_min) for n, option in zip(free.replicas, options, strict=True)]
    owing = [
        min(n, max(option.least, option.replicas_min))
        for n, option in zip(free.replicas, options, strict=True)
    ]
    for goals in (owing, free.replicas):
        for at, goal in enumerate(goals):
            # Whom it costs nothing has no say in it, even where minimums have cost them too much already.
            payers = [bound for bound in bounds if bound.each[at] > 0]
            while counts[at] < goal and _covered(_with(counts, at, counts[at] + 1), payers):
                counts[at] += 1
    bound = tuple(
        "Budget" if n < wanted else why
        for n, wanted, why in zip(counts, free.replicas, free.bound, strict=True)
    )
    return Choice(tuple(counts), bound, feasible=free.feasible and "Budget" not in bound)


def _most(replicas: Sequence[int], at: int, bounds: Sequence[Bound]) -> int:
    rooms = [bound.left(replicas) / bound.each[at] for bound in bounds if bound.each[at] > 0]
    return replicas[at] + max(0, math.floor(min(rooms, default=ANY)))


def _with(replicas: Sequence[int], at: int, count: int) -> list[int]:
    return [count if place == at else n for place, n in enumerate(replicas)]


def _free(options: Sequence[Option], peak_rps: float, lasting_rps: float) -> Choice:
    """Whatever it costs."""
    least = [min(option.replicas_max, max(option.replicas_min, option.least)) for option in options]
    best: tuple[float, int, tuple[int, ...]] | None = None
    # The cheapest per request fills what is left.
    order = sorted(range(len(options)), key=lambda i: options[i].price / max(1e-9, options[i].carries_rps))
    filler, others = order[0], order[1:]
    spans = [
        range(least[i], min(options[i].replicas_max, least[i] + (2 if at < _WIDE else 0)) + 1)
        for at, i in enumerate(others)
    ]
    for counts in product(*spans):
        given = sum(n * options[i].carries_rps for n, i in zip(counts, others, strict=True))
        fill = max(
            least[filler], math.ceil((peak_rps - given) / max(1e-9, options[filler].carries_rps) - 1e-9)
        )
        if fill > options[filler].replicas_max:
            continue
        replicas = [0] * len(options)
        replicas[filler] = fill
        for n, i in zip(counts, others, strict=True):
            replicas[i] = n
        cost = sum(n * option.price for n, option in zip(replicas, options, strict=True))
        moved = sum(abs(n - option.now) for n, option in zip(replicas, options, strict=True))
        if best is None or (cost, moved) < best[:2]:
            best = (cost, moved, tuple(replicas))
    if best is None:
        return _filled(options, least, order, peak_rps, lasting_rps)
    bound = tuple(
        ("Minimum" if n == option.replicas_min else "OwnShare") if n == least[i] else "Together"
        for i, (n, option) in enumerate(zip(best[2], options, strict=True))
    )
    return Choice(best[2], bound, feasible=True)


def _filled(
    options: Sequence[Option], least: Sequence[int], order: Sequence[int], peak_rps: float, lasting_rps: float
) -> Choice:
    """Where maxReplicas of the cheap ones end soon: from the cheapest per request on, each up to what is left."""
    counts = list(least)
    for i in order:
        load_rps = peak_rps if i == order[0] else min(peak_rps, lasting_rps)
        left = load_rps - sum(n * option.carries_rps for n, option in zip(counts, options, strict=True))
        if left > 0 and options[i].carries_rps > 0:
            counts[i] = min(
                options[i].replicas_max, counts[i] + math.ceil(left / options[i].carries_rps - 1e-9)
            )
    carried = sum(n * option.carries_rps for n, option in zip(counts, options, strict=True))
    bound = tuple(
        "Maximum" if n == option.replicas_max else "Together" if n > least[i] else "OwnShare"
        for i, (n, option) in enumerate(zip(counts, options, strict=True))
    )
    return Choice(tuple(counts), bound, feasible=carried >= peak_rps - 1e-6)
