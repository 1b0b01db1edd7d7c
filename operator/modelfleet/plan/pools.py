"""What a node pool has room for, shared out among its tiers: fair, the same every time, and after all else.

What runs and is wanted stays as long as it fits, so tiers do not take replicas from each other.  Room goes to whom the
greatest part of its wish is denied; every tier's minimum comes before anybody's wish.  A limit that was lowered is
kept, too: the tier that has the greatest part of its wish gives first, and none below its minimum.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace

from modelfleet.plan.controls import BY_HAND
from modelfleet.plan.rules import Verdict
from modelfleet.plan.snapshot import Name, Pool, TierSnapshot


@dataclass(frozen=True, slots=True)
class Member:
    """One tier of a pool.  `units` of the pool for each replica; `wish` is what was decided for it alone."""

    now: int
    floor: int
    wish: int
    units: int


def limit(
    verdicts: Mapping[Name, Verdict], tiers: Mapping[Name, TierSnapshot], pools: Mapping[str, Pool]
) -> dict[Name, Verdict]:
    """The verdicts within the pools.  What a user pinned, paused or only observes counts as it is."""
    limited = dict(verdicts)
    for pool_name, pool in pools.items():
        names = [name for name, tier in tiers.items() if tier.pool == pool_name]
        members = {
            name: _member(tiers[name], verdicts[name])
            for name in names
            if _movable(tiers[name], verdicts[name])
        }
        taken = sum(_held(tiers[name], verdicts[name]) for name in names if name not in members)
        room = pool.units_max - pool.taken - taken
        granted = share(members, room)
        free = room - sum(replicas * members[name].units for name, replicas in granted.items())
        watched = [name for name in names if tiers[name].observe and verdicts[name].reason not in BY_HAND]
        granted |= {name: _would_be(tiers[name], verdicts[name], free) for name in watched}
        why = f"Node pool {pool_name} is full: the settings allow {pool.units_max} units over all its tiers"
        limited |= {name: _within(verdicts[name], replicas, why) for name, replicas in granted.items()}
    return limited


def _within(verdict: Verdict, replicas: int, why: str) -> Verdict:
    if replicas == verdict.replicas:
        return verdict
    if verdict.active:
        return replace(verdict, replicas=replicas, reason="PoolLimit", message=why)
    # That nothing can be measured, or the like, is the greater news.
    return replace(verdict, replicas=replicas, message=f"{verdict.message}. {why}")


def _would_be(tier: TierSnapshot, verdict: Verdict, free: int) -> int:
    """Of a tier that is only observed: it would take of what the others leave."""
    return min(verdict.replicas, tier.replicas + max(0, free) // tier.pool_units)


def units(
    verdicts: Mapping[Name, Verdict], tiers: Mapping[Name, TierSnapshot], pools: Mapping[str, Pool]
) -> dict[str, int]:
    """Units of each pool that are wanted now."""
    wanted = {name: pool.taken for name, pool in pools.items()}
    for name, tier in tiers.items():
        if tier.pool in wanted:
            wanted[tier.pool] += _held(tier, verdicts[name])
    return wanted


def share(members: Mapping[Name, Member], room: int) -> dict[Name, int]:
    """Replicas by tier that fit into `room` units, none above its wish.  More than fit only where minimums ask for it."""
    granted = {name: min(member.now, member.wish) for name, member in members.items()}
    room -= sum(replicas * members[name].units for name, replicas in granted.items())
    room = _take(granted, members, room)
    _give(granted, members, room)
    return granted


def _give(granted: dict[Name, int], members: Mapping[Name, Member], room: int) -> None:
    def turn(name: Name) -> tuple[bool, float, Name]:
        member = members[name]
        return granted[name] >= member.floor, granted[name] / member.wish, name

    waiting = [turn(name) for name, member in members.items() if granted[name] < member.wish]
    heapq.heapify(waiting)
    while waiting:
        *_, name = heapq.heappop(waiting)
        if members[name].units > room:
            continue  # one that needs less may still fit
        room -= members[name].units
        granted[name] += 1
        if granted[name] < members[name].wish:
            heapq.heappush(waiting, turn(name))


def _take(granted: dict[Name, int], members: Mapping[Name, Member], room: int) -> int:
    """What is left: below zero where minimums do not fit."""

    def turn(name: Name) -> tuple[float, Name]:
        return -granted[name] / members[name].wish, name

    having = [turn(name) for name, member in members.items() if granted[name] > member.floor]
    heapq.heapify(having)
    while having and room < 0:
        _, name = heapq.heappop(having)
        room += members[name].units
        granted[name] -= 1
        if granted[name] > members[name].floor:
            heapq.heappush(having, turn(name))
    return room


def _member(tier: TierSnapshot, verdict: Verdict) -> Member:
    floor = min(tier.replicas_min, verdict.replicas)
    return Member(tier.replicas, floor, verdict.replicas, tier.pool_units)


def _movable(tier: TierSnapshot, verdict: Verdict) -> bool:
    return not tier.observe and verdict.reason not in BY_HAND


def _held(tier: TierSnapshot, verdict: Verdict) -> int:
    if tier.paused == "Suspended":
        return 0
    return (tier.replicas if tier.observe else verdict.replicas) * tier.pool_units
