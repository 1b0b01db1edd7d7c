"""What no policy can undercut on the fluid: replicas that can be split, start at once and know every second to come.

They are as full at every second as the level allows, at the load of that very second.  What part misses at which load
is read off the same tables as everybody's.
"""

from collections.abc import Sequence

from bench.capacity.cells import Cells
from bench.capacity.loads import Load, fleet, shares_of

Curve = Sequence[
    tuple[float, float]
]  # GPU seconds for one request, and the part that misses there, the dearest first


def gpu_h(cells: Cells, kind: str, of: Load, level: float) -> float | None:
    """GPU hours of the whole load at that attainment; None where no replica keeps it."""
    tails = cells.tails(of)
    cascade = fleet(kind, of, cells.tested(of).rates_rps)
    curves = [
        [
            (share * tier.gpus / (tails[tier.name].step_rps * at), share * (1 - good))
            for at, good in enumerate(tails[tier.name].good, start=1)
        ]
        for tier, share in zip(cascade.tiers, shares_of(cascade), strict=True)
    ]
    found = least(curves, 1 - level)
    return None if found is None else found * sum(of.counts) / 3600


def least(curves: Sequence[Curve], missed: float) -> float | None:
    """The least that one request costs over all tiers, while no more than `missed` miss together."""
    first, *others = curves
    affordable = [(cost, part) for cost, part in first if part <= missed + 1e-12]
    if not others:
        return min((cost for cost, _ in affordable), default=None)
    rests = ((cost, least(others, missed - part)) for cost, part in affordable)
    return min((cost + rest for cost, rest in rests if rest is not None), default=None)
