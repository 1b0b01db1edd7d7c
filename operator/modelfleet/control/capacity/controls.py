"""The user's controls, from spec and settings to the planner's words: observes, decides nothing."""

from collections.abc import Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo

from modelfleet.api import pins
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.scaling import Scaling
from modelfleet.plan.schedule import Schedule, Scheduled, scheduled
from modelfleet.plan.snapshot import Fallback, Name, Pool


def schedules(scaling: Scaling, now_s: float) -> Scheduled:
    """What the clock asks for at this moment, within maxReplicas."""
    return scheduled(
        [
            Schedule(
                cron=each.cron,
                duration_s=seconds(each.duration),
                zone=_zone(each.time_zone),
                zone_name=each.time_zone,
                replicas=min(each.min_replicas, scaling.max_replicas),
            )
            for each in scaling.schedules
        ],
        now_s,
    )


def pools(settings: FleetSettings, tiers: Mapping[Name, ModelTier]) -> dict[str, Pool]:
    """The node pools with a limit, and what tiers that do not scale have of them."""
    limits = {
        name: pool.max_units for name, pool in settings.node_pools.items() if pool.max_units is not None
    }
    taken = dict.fromkeys(limits, 0)
    for tier in tiers.values():
        pool = tier.spec.node_pool
        if pool is not None and pool.name in taken and not tier.scalable:
            taken[pool.name] += _fixed(tier) * pool.count
    return {name: Pool(units_max, taken[name]) for name, units_max in limits.items()}


def _fixed(tier: ModelTier) -> int:
    """Replicas of a tier that does not scale."""
    if tier.spec.existing is not None:
        return tier.status.replicas or 0
    return 0 if tier.spec.suspend else pins.replicas(tier.metadata.annotations).replicas or tier.spec.replicas


def fallback(scaling: Scaling) -> Fallback | None:
    """None where what is wanted stays as it is."""
    rule = scaling.fallback
    if rule is None or rule.behavior == "Hold" or rule.replicas is None:
        return None
    return Fallback(rule.replicas, after_s=seconds(rule.after))


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a folder of the database
        return None
