"""What the metrics store knows about the fleet, as the adapter hands it over: numbers by object, unjudged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelfleet.plan.snapshot import Name


@dataclass(frozen=True, slots=True)
class TierLoad:
    """One ModelTier over all Cascades and routers.  None: no such sample."""

    in_flight: float | None = None  # requests, mean of the last 15 s
    age_s: float | None = None  # of the oldest router's sample, by the store's own clock
    routers: int = 0  # router replicas that report now
    first_tokens_per_s: float | None = None  # rate of TTFT observations over the last minute
    ttft_s: Mapping[int, float] = field(
        default_factory=dict
    )  # by percentile, over the last minute; may be NaN


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """One look at the metrics store."""

    tiers: Mapping[Name, TierLoad]
    started: Mapping[Name, Mapping[str, float]]  # requests of the last hour by Cascade and step
    answered: Mapping[Name, Mapping[str, float]]  # likewise


NOTHING = FleetLoad(tiers={}, started={}, answered={})
