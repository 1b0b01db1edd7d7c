"""Policies compared at equal attainment: what each must pay for it, from the points that it reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.99


@dataclass(frozen=True)
class Point:
    attainment: float
    gpu_h: float
    flips: float = 0.0
    constants: tuple[float, ...] | None = None


def need(points: Sequence[Point], attainment: float) -> float | None:
    """GPU hours for that attainment, linear between points; None where none reaches it.

    Below all points: the cheapest of them, since nobody knows what less would have cost.
    """
    best = min((one.gpu_h for one in points if one.attainment >= attainment), default=None)
    if best is None:
        return None
    for low in points:
        for high in points:
            if low.attainment < attainment <= high.attainment and low.gpu_h < high.gpu_h:
                part = (attainment - low.attainment) / (high.attainment - low.attainment)
                best = min(best, low.gpu_h + part * (high.gpu_h - low.gpu_h))
    return best


def level(ours: Sequence[Point], peers: Mapping[str, Sequence[Point]]) -> float:
    """What both sides can be asked for: 99 %, or less where one of them never gets there."""
    reach = max((one.attainment for points in peers.values() for one in points), default=0.0)
    return min(LEVEL, reach, max((one.attainment for one in ours), default=0.0))


def best_peer(peers: Mapping[str, Sequence[Point]], attainment: float) -> tuple[str, float] | None:
    """The cheapest at that attainment."""
    costs = {name: cost for name, points in peers.items() if (cost := need(points, attainment)) is not None}
    if not costs:
        return None
    name = min(costs, key=lambda one: costs[one])
    return name, costs[name]


def tuned(points: Sequence[Point], goal: float) -> Point:
    """What tuning picks: the cheapest that reaches the goal, else what comes nearest to it."""
    reach = [one for one in points if one.attainment >= goal]
    if reach:
        return min(reach, key=lambda one: one.gpu_h)
    return max(points, key=lambda one: one.attainment)
