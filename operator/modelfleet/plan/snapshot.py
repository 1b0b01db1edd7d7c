"""What the planner sees: one frozen picture of the fleet, with the age and completeness of every number.

A number that is not there is never a zero: it is `Missing`, or `Idle` where its own count says that nothing
happened.  What must outlive a tick (past wishes, past changes) is a field here, kept by the capacity loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from modelfleet.plan.behavior import Behavior
from modelfleet.plan.planner import TierPlan
from modelfleet.plan.thresholds import Bar


class Name(NamedTuple):
    """Names a ModelTier or a Cascade."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A number as measured.  `complete`: every ready router replica contributed to it."""

    value: float
    age_s: float
    complete: bool


@dataclass(frozen=True, slots=True)
class Idle:
    """No number, because a fresh count says that there was nothing to measure."""


@dataclass(frozen=True, slots=True)
class Missing:
    """No number, and no proof that there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """What one router says of one tier: for how long it has had no request for it, and how many it holds."""

    for_s: float
    held: float


Reading = Sample | Idle | Missing
MetricType = Literal["TTFT", "ITL", "Concurrency", "Queue", "KVCache", "PromQL"]
# Requests or seconds; what is above is an error of its source, and would overflow the arithmetic.
_VALUE_MAX = 1e12
Source = Literal["Answers", "Silent"]  # whoever measures the load
SourceName = Literal["Prometheus", "Direct"]
Silent = Literal["", "some", "all"]
Pause = Literal["", "Paused", "Suspended"]


def usable(reading: Reading, *, stale_after_s: float) -> float | None:
    """The number, when it is fresh, complete, not negative and of this world; else None."""
    if not isinstance(reading, Sample) or not reading.complete:
        return None
    if not 0 <= reading.age_s <= stale_after_s:
        return None
    return reading.value if 0 <= reading.value <= _VALUE_MAX else None


@dataclass(frozen=True, slots=True)
class Target:
    """One metric of spec.scaling.

    Target and reading are seconds for TTFT and ITL, and shares (0 to 1) of the fullest replica's for KVCache.  For the
    others the target is per replica and the reading of the whole tier: what the query gives for PromQL, else requests
    in flight.
    """

    name: str
    type: MetricType
    value: float
    reading: Reading
    problem: str = ""  # why nothing was measured, where somebody said


@dataclass(frozen=True, slots=True)
class Wish:
    """A number of replicas that a past tick asked for, before stabilization and limits."""

    at_s: float  # the last tick that asked for it
    replicas: int


@dataclass(frozen=True, slots=True)
class Change:
    """A past change of the wanted replicas."""

    at_s: float
    by: int  # negative: fewer


@dataclass(frozen=True, slots=True)
class Sleep:
    """Of a tier that may run nothing: when it may go to sleep, and who wants it awake."""

    after_s: float  # without requests
    quiet_s: float | None  # since the last request at any router; None: not all of them said
    awake_s: float  # since it last grew
    wanted: bool  # a router holds a request for it, or has called
    answers: bool  # a replica is ready, and for so long that routers have its address


@dataclass(frozen=True, slots=True)
class Pool:
    """What the settings allow of one node pool.  `taken`: units of tiers that have a size and do not scale."""

    units_max: int
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to have at least once no metric has been read for `after_s`."""

    replicas: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Unplanned:
    """Why a tier without targets is in no plan, and what to write."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TierSnapshot:
    """One ModelTier with scaling set."""

    replicas: int  # wanted now: the last decision, or what runs
    replicas_ready: int
    replicas_measured: int  # ready for so long that a latency of the last minute is theirs, too
    replicas_min: int  # at least 1: what load may ask for; 0 is the matter of `sleep`
    replicas_max: int
    slots: int  # requests one replica works on at the same time
    targets: tuple[Target, ...]
    in_flight: Reading  # requests in the whole tier, waiting ones included
    behavior: Behavior
    stale_after_s: float
    sleep: Sleep | None = None  # None: something runs at all times
    routed: bool = True  # some Cascade sends requests here
    planned: TierPlan | None = (
        None  # what the plan of its Cascades has for it; it counts where there are no targets
    )
    unplanned: Unplanned | None = None  # why nothing plans it
    engines_silent: Silent = ""  # which of its engines should tell what they hold, and do not
    source: Source = "Answers"
    measured_by: SourceName = "Prometheus"
    paused: Pause = ""
    pinned: int | None = None  # replicas, by the user's annotation
    observe: bool = False  # say what would be done, and do nothing
    scheduled: int = 0  # replicas that a running schedule asks for; replicas_min holds them, too
    blind_for_s: float = 0.0  # for how long no metric at all has been read
    fallback: Fallback | None = None
    pool: str = ""  # of nodes
    pool_units: int = 1  # of the pool, for one replica
    wishes: tuple[Wish, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One tier of a Cascade.  Weights are permille of all entries."""

    name: str
    initial: int
    weight_min: int
    weight_max: int
    ready: int  # replicas that answer; 1 for a working external API
    ready_for_s: float  # how long the tier has had a ready replica without a break; 0 when it has none
    slots: int | None  # per replica; None: not ours to know, never saturated
    queue_target: float  # waiting requests per replica above which the tier is saturated
    in_flight: Reading  # in the whole tier, over all Cascades
    cold: bool = False  # it sleeps, or its first replica is on its way: entries may wait there


@dataclass(frozen=True, slots=True)
class CascadeSnapshot:
    """One Cascade."""

    mode: Literal["Auto", "Fixed", "Observe"]
    step_max: int  # permille that one tier's weight may move per step because of load
    hold_s: float  # a tier that came back must stay ready this long before it gets entries again
    steps: tuple[Step, ...]
    weights: Mapping[str, int] | None  # the last decision
    stale_after_s: float
    out: frozenset[str] = frozenset()  # tiers without entries because they were not ready
    step_due: bool = True  # weights.interval has passed since the last step because of load
    respecified: bool = False  # the user changed what weights return to
    paused: bool = False
    planned: bool = False  # routers move entries by themselves around the weights that a plan has
    pinned: Mapping[str, int] | None = None  # weights, by the user's annotation
    bars: tuple[Bar, ...] = ()  # of all steps, where a threshold is ours to choose
    escalations_max: int = 1


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """Everything that one decision may look at."""

    now_s: float
    tiers: Mapping[Name, TierSnapshot]
    cascades: Mapping[Name, CascadeSnapshot]
    pools: Mapping[str, Pool] = field(default_factory=dict)  # that have a limit
