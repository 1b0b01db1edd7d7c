"""Replicas of all tiers of one cascade in one decision, by cost.

The cheap tiers and the dear one share their peaks: the router moves requests between them within a second, so a
quantile of the total has to fit into both together, and each alone only has to carry what it owes on average.
Sizing from total arrivals times the planned share - never from the traffic that the router has just moved - is what
keeps the dear tier from growing with every burst that it was asked to take.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product


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
    """Replicas by tier, and the constraint that cost the last replica: a tier's own share, all together, or Minimum."""

    replicas: tuple[int, ...]
    bound: tuple[str, ...]
    feasible: bool


def choose(options: Sequence[Option], peak_rps: float) -> Choice:
    """The cheapest replicas that carry what each owes alone and `peak_rps` together.

    Where maxReplicas does not allow it: as many as there may be, `feasible` False.
    """
    least = [min(option.replicas_max, max(option.replicas_min, option.least)) for option in options]
    best: tuple[float, int, tuple[int, ...]] | None = None
    # The cheapest per request fills what is left.
    order = sorted(range(len(options)), key=lambda i: options[i].price / max(1e-9, options[i].carries_rps))
    filler, others = order[0], order[1:]
    spans = [range(least[i], min(options[i].replicas_max, least[i] + 2) + 1) for i in others]
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
        return _filled(options, least, order, peak_rps)
    bound = tuple(
        ("Minimum" if n == option.replicas_min else "OwnShare") if n == least[i] else "Together"
        for i, (n, option) in enumerate(zip(best[2], options, strict=True))
    )
    return Choice(best[2], bound, feasible=True)


def _filled(options: Sequence[Option], least: Sequence[int], order: Sequence[int], peak_rps: float) -> Choice:
    """Where maxReplicas of the cheap ones end soon: from the cheapest per request on, each up to what is left."""
    counts = list(least)
    for i in order:
        left = peak_rps - sum(n * option.carries_rps for n, option in zip(counts, options, strict=True))
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
