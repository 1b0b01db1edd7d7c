"""Moves the entries of each Cascade from second to second, where the route table lets routers do so.

No request waits for it: what requests read is one tuple, which is swapped.
"""

from collections.abc import Iterable
from typing import Final

from modelfleet.api.route_table import CascadeRoute
from modelfleet.route import choose
from modelfleet.route.bank import Bank
from modelfleet.route.law import Law, Side
from modelfleet.router.fleet import Line, Step

EVERY_S: Final = 1.0
_PARTS: Final = 1_000_000  # of all entries, that a share is cut into
_PERMILLE: Final = 1000
_HOUR_S: Final = 3600.0


def resume(line: Line) -> None:
    """After the table changed: go on where the law left off, else with the table's weights."""
    law = line.law
    if law is not None and len(law.shares) == len(line.steps):
        _enter(line, law.shares)
    else:
        total = sum(step.route.weight_permille for step in line.steps) or 1
        for step in line.steps:
            step.stats.entry_share = step.route.weight_permille / total


def spend(lines: Iterable[Line], *, routers: int, seconds: float) -> None:
    """One step of the law for every Cascade that has one.  `seconds` since the last one."""
    for line in lines:
        law, owed = line.law, line.route.owed_permille
        if law is not None and owed is not None:
            law.among(routers)
            sides = [_side(step, routers) for step in line.steps]
            _enter(line, law.second(sides, target=owed / _PERMILLE, seconds=seconds))


def memory(route: CascadeRoute) -> str:
    """What a law is remembered by: it counts by place, so of other tiers, or in another order, it knows nothing."""
    return "/".join((route.cascade, *(f"{tier.name}={tier.model_tier}" for tier in route.tiers)))


def law_of(route: CascadeRoute, known: Law | None) -> Law | None:
    """The law of a Cascade: what it remembers outlives a change of the table, and a new one goes on from the others'."""
    if route.owed_permille is None:
        return None
    if known is not None or route.last_hour is None:
        return known if known is not None else Law()
    answers = float(route.last_hour.answers)
    return Law(Bank(route.last_hour.ahead_permille / _PERMILLE * answers, answers))


def _enter(line: Line, shares: Iterable[float]) -> None:
    found = list(shares)
    line.bounds = choose.bounds([round(share * _PARTS) for share in found])
    for step, share in zip(line.steps, found, strict=True):
        step.stats.entry_share = share


def _side(step: Step, routers: int) -> Side:
    """A tier with this router's part of its replicas: every router sees a fair sample of the requests."""
    route, pool, stats = step.route, step.pool, step.stats
    ready = sum(1 for replica in pool.replicas if replica.health.state != "Out")
    return Side(
        entered=stats.started,
        answered=stats.answered,
        in_flight=stats.in_flight,
        ready=ready,
        carries_rps=route.carries_per_hour / _HOUR_S / routers,
        under_way=route.under_way / routers,
        least=route.least_permille / _PERMILLE,
        most=route.most_permille / _PERMILLE,
        shut=ready == 0 and pool.cold is None,
    )
