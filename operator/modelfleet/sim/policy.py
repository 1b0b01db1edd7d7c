"""What a policy sees of a simulated fleet, and what it may order."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelfleet.sim.fleet import Cascade, Tier
from modelfleet.sim.meter import Meter, Window


@dataclass(frozen=True, slots=True)
class PodSeen:
    """One pod that is not on its way out.  Seconds since the start of the run; `ready_s` None: it is starting."""

    number: int  # of its own, as long as the run lasts
    born_s: float
    ready_s: float | None


@dataclass(frozen=True, slots=True)
class TierSeen:
    """One tier as the planner reads it: numbers of the last scrape that has arrived."""

    tier: Tier
    wanted: int  # replicas, the last order
    ready: int
    starting: int
    in_flight: int  # requests in the tier, those in the router's line too
    running: int  # in the engines' batches
    engine_queue: int
    router_queue: int
    kv_mean: float  # share of KV memory, 0 to 1
    kv: Sequence[float]  # by replica
    queues: Sequence[int]  # engine queue by replica
    runnings: Sequence[int]
    kv_peaks: Sequence[float]  # by replica, the most of the last minute
    queue_peaks: Sequence[float]
    cold_starts_s: Sequence[float]  # lately
    meter: Meter
    lag_s: float
    pods: Sequence[PodSeen] = ()
    quiet_s: float = 0.0  # since its last request, 0 while it has some

    def window(self, seconds: float) -> Window:
        return self.meter.window(seconds, back_s=self.lag_s)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look.  `lost`: the scrape or the query failed, and the numbers are those of the look before.

    `whole`: of the cascade, as its clients see it; `refused` since the look before; `answered`: by tier, of an hour.
    """

    now_s: float
    cascade: Cascade
    tiers: Sequence[TierSeen]
    entered: int  # requests that came to the cascade since the look before
    lost: bool = False
    whole: Meter | None = None
    refused: int = 0
    answered: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """What the routers move within, until the next look: for the last tier and for all before it."""

    target: float  # share of the last tier
    carries_rps: Sequence[float]  # by tier, one replica
    under_way: Sequence[float]  # by tier, requests that one replica has when it carries that


@dataclass(frozen=True, slots=True)
class Orders:
    """Replicas by tier; what is not named stays.

    `entry`: shares of the entries by tier, and nothing moves them until something is `published`; None: as they are.
    """

    replicas: Mapping[str, int]
    entry: Sequence[float] | None = None
    thresholds: Sequence[float | None] | None = None
    published: Published | None = None


class Policy(Protocol):
    """Decides at every look.  It may remember."""

    @property
    def name(self) -> str: ...
    @property
    def look_s(self) -> float: ...
    def decide(self, seen: Seen) -> Orders: ...


class Prompt(Policy, Protocol):
    """One that need not be waited for until its next look."""

    def at_once(self, seen: Seen, *, wanted: Collection[str]) -> Orders:
        """A pod has come or gone, or requests wait at these tiers, which run nothing."""
