"""The arithmetic of HPA v2: from a measured number to replicas, and how far one tick may go towards them.

Source of the formulas: Kubernetes' `replica_calculator.go` and `horizontal.go`.  One difference is on purpose:
`Queue` asks how many replicas would leave the target queue at the present load, because waiting requests alone
say nothing about replicas that are busy (an empty queue would scale a fully used tier to its minimum).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelfleet.plan.behavior import Behavior, Direction
from modelfleet.plan.snapshot import Change, MetricType, Target, TierSnapshot, Wish

_ROUNDING = 1e-9  # 0.3 / 0.1 is a little less than 3, 33 / 1.1 a little more than 30


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric asks for, before stabilization and limits."""

    replicas: int
    metric: MetricType


def propose(target: Target, value: float, snap: TierSnapshot) -> Proposal:
    """Replicas that would bring the metric to its target; the present number when it is near enough."""
    return Proposal(_FORMULAS[target.type](target, value, snap), target.type)


def _by_amount(target: Target, amount: float, snap: TierSnapshot) -> int:
    # The total is shared by replicas that start, too: they are coming supply, never a second reason to grow.
    ratio = amount / (target.value * max(1, snap.replicas))
    return snap.replicas if near(ratio, snap.behavior) else _ceil(amount / target.value)


def _by_queue(target: Target, in_flight: float, snap: TierSnapshot) -> int:
    waiting = queue_per_replica(in_flight, replicas=snap.replicas, slots=snap.slots)
    if near(waiting / target.value, snap.behavior):
        return snap.replicas
    return _ceil(in_flight / (target.value + snap.slots))


def _by_ratio(target: Target, value: float, snap: TierSnapshot) -> int:
    ratio = value / target.value
    measured = min(snap.replicas_measured, snap.replicas)  # A rollout's extra pods are no supply.
    if near(ratio, snap.behavior) or measured == 0:
        return snap.replicas
    wanted = _ceil(ratio * measured)
    if ratio > 1:
        # Pods that start, or just did, will take their part of the load: grow only beyond them.
        return max(wanted, snap.replicas)
    # On the way down they have proven nothing yet, so they count as if they were at the target.
    return min(wanted + snap.replicas - measured, snap.replicas)


_FORMULAS: Mapping[str, Callable[[Target, float, TierSnapshot], int]] = {
    "TTFT": _by_ratio,
    "ITL": _by_ratio,
    "Concurrency": _by_amount,
    "Queue": _by_queue,
    "KVCache": _by_ratio,
    "PromQL": _by_amount,
}


def queue_per_replica(in_flight: float, *, replicas: int, slots: int) -> float:
    """Waiting requests per replica: what is in flight beyond the slots."""
    return max(0.0, in_flight - replicas * slots) / max(1, replicas)


def near(ratio: float, behavior: Behavior) -> bool:
    """Whether measured / target is so near 1 that nothing is done."""
    return 1 - behavior.down.tolerance - _ROUNDING <= ratio <= 1 + behavior.up.tolerance + _ROUNDING


def stabilize(wanted: int, snap: TierSnapshot, now_s: float) -> int:
    """The safest of this wish and those of the windows: the smallest on the way up, the largest on the way down."""
    up = min(wanted, *_within(snap.wishes, now_s - snap.behavior.up.window_s), wanted)
    down = max(wanted, *_within(snap.wishes, now_s - snap.behavior.down.window_s), wanted)
    return min(max(snap.replicas, up), down)


def lowest_wish(wanted: int, snap: TierSnapshot, now_s: float) -> int:
    """`wanted`, but on the way up no more than was wished for throughout the window."""
    if wanted <= snap.replicas:
        return wanted
    lowest = min(wanted, *_within(snap.wishes, now_s - snap.behavior.up.window_s), wanted)
    return max(snap.replicas, lowest)


def limit(wanted: int, snap: TierSnapshot, now_s: float) -> int:
    """As far towards `wanted` as the policies let one tick go."""
    if wanted > snap.replicas:
        return min(wanted, max(snap.replicas, _ceiling(snap, now_s)))
    return max(wanted, min(snap.replicas, _floor(snap, now_s)))


def _ceiling(snap: TierSnapshot, now_s: float) -> int:
    def most(start: int, kind: str, value: int) -> int:
        return start + value if kind == "Pods" else _ceil(start * (1 + value / 100))

    return _bound(snap, snap.behavior.up, now_s, most, loosest=max, strictest=min)


def _floor(snap: TierSnapshot, now_s: float) -> int:
    def least(start: int, kind: str, value: int) -> int:
        return start - value if kind == "Pods" else math.floor(start * (1 - value / 100) + _ROUNDING)

    return _bound(snap, snap.behavior.down, now_s, least, loosest=min, strictest=max)


def _bound(
    snap: TierSnapshot,
    side: Direction,
    now_s: float,
    reach: Callable[[int, str, int], int],
    *,
    loosest: Callable[[Sequence[int]], int],
    strictest: Callable[[Sequence[int]], int],
) -> int:
    if side.select == "Disabled":
        return snap.replicas
    bounds = [
        reach(_at_start(snap, now_s - policy.period_s), policy.kind, policy.value) for policy in side.policies
    ]
    return loosest(bounds) if side.select == "Max" else strictest(bounds)


def _at_start(snap: TierSnapshot, since_s: float) -> int:
    """Wanted replicas before the changes of the period."""
    return snap.replicas - sum(change.by for change in snap.changes if change.at_s > since_s)


def _within(wishes: Sequence[Wish], since_s: float) -> list[int]:
    return [wish.replicas for wish in wishes if wish.at_s > since_s]


def _ceil(value: float) -> int:
    return math.ceil(value - _ROUNDING)


def remember_wish(wishes: Sequence[Wish], wish: Wish, *, memory_s: float) -> tuple[Wish, ...]:
    """The wishes with one more.  A wish repeated is one wish, so a calm tier remembers one, not hundreds."""
    if wishes and wishes[-1].replicas == wish.replicas:
        wishes = wishes[:-1]
    return (*(old for old in wishes if old.at_s > wish.at_s - memory_s), wish)


def remember_change(changes: Sequence[Change], change: Change, *, memory_s: float) -> tuple[Change, ...]:
    """The changes with one more, where it is one; those beyond memory are dropped."""
    kept = tuple(old for old in changes if old.at_s > change.at_s - memory_s)
    return (*kept, change) if change.by else kept
