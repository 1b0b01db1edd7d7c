"""A simulated tier as the routers' law sees it (`route/law.py`): translation, and no decision."""

from modelfleet.route.law import Side
from modelfleet.sim.fleet import Tier
from modelfleet.sim.policy import Published


def side(
    tier: Tier,
    told: Published,
    index: int,
    *,
    entered: float,
    answered: float,
    in_flight: float,
    ready: int,
) -> Side:
    """One router has all the requests of a simulated Cascade, so all of every replica.  Counts since the start."""
    return Side(
        entered=entered,
        answered=answered,
        in_flight=in_flight,
        ready=ready,
        carries_rps=told.carries_rps[index],
        under_way=told.under_way[index],
        least=tier.entries_min,
        most=tier.entries_max,
        shut=ready == 0 and tier.hold is None,
    )
