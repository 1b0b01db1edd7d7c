"""Whether a reading between two looks is a reason to look at once: engines that are full do not wait for a timer.

It decides nothing else.  The look that follows has all the numbers, and grows the tier or says why not.
"""

from collections.abc import Mapping

from modelfleet.plan.load import FleetLoad
from modelfleet.plan.rails import is_full
from modelfleet.plan.snapshot import Name

AGAIN_S = 60.0  # after a look of its own a tier waits for those that all have: the replica it was given has to start


def full_tiers(load: FleetLoad, ready: Mapping[Name, int]) -> frozenset[Name]:
    """Tiers whose replicas are full by a reading of now.  `ready`: replicas of the tiers that can grow."""
    return frozenset(
        name
        for name, tier in load.tiers.items()
        if name in ready
        and is_full(
            waiting=(tier.waiting_router or 0.0) + (tier.waiting_engines or 0.0),
            kv=tier.kv_used or 0.0,
            ready=ready[name],
        )
    )


def due(full: frozenset[Name], looked_s: Mapping[Name, float], *, now_s: float) -> frozenset[Name]:
    """Those of them that had no look of their own lately.  `looked_s`: when each had its last."""
    return frozenset(name for name in full if now_s - looked_s.get(name, -AGAIN_S) >= AGAIN_S)
