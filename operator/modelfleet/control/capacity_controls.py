"""The user's controls of one tier, from its spec to the planner's words: observes, decides nothing."""

from functools import lru_cache
from zoneinfo import ZoneInfo

from modelfleet.api.meta import seconds
from modelfleet.api.scaling import Scaling
from modelfleet.plan.schedule import Schedule, Scheduled, scheduled
from modelfleet.plan.snapshot import Fallback


def schedules(scaling: Scaling, now_s: float) -> Scheduled:
    """What the clock asks for now, within maxReplicas."""
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
