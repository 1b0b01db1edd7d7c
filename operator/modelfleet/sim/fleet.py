"""What is simulated: tiers, a cascade over them, objectives, and how the world behaves."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from modelfleet.plan.engine import Engine


@dataclass(frozen=True, slots=True)
class ColdStart:
    """From the decision to the first request: image, weights and engine, each lognormal around its median."""

    image_s: float = 0.0
    weights_s: float = 10.0
    engine_s: float = 110.0
    spread: float = 0.15  # standard deviation of the logarithm

    @property
    def median_s(self) -> float:
        return self.image_s + self.weights_s + self.engine_s


@dataclass(frozen=True, slots=True)
class Hold:
    """While a tier runs nothing: how many requests wait for its first replica, and how long."""

    most: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tier:
    """One ModelTier.  `external`: an API, without replicas and without limits of ours."""

    name: str
    engine: Engine
    gpus: float = 1.0  # of one replica
    usd_per_replica_hour: float = 0.0
    usd_per_million_tokens: tuple[float, float] = (
        0.0,
        0.0,
    )  # of the prompt, of the answer; of an external API
    cold: ColdStart = ColdStart()
    replicas_start: int = 1
    replicas_min: int = 1
    replicas_max: int = 100
    external: bool = False
    entries_min: float = 0.0  # of all entries, 0 to 1, whatever a router would like
    entries_max: float = 1.0
    hold: Hold | None = None  # None: what runs nothing takes nothing

    @property
    def room(self) -> int:
        """Requests that a router gives one replica: its slots, and a quarter more."""
        return self.engine.sequences_max + max(1, self.engine.sequences_max // 4)


@dataclass(frozen=True, slots=True)
class Slo:
    """What a request must be served within: first token, and mean time between tokens."""

    ttft_s: float = 1.0
    itl_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Question:
    """How one request fares at every tier: the score of its answer, and whether it is right; empty: nobody knows."""

    scores: tuple[float, ...]
    right: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Cascade:
    """Tiers cheapest first.  `share_floor`: part of the answers that the last tier owes over a rolling hour."""

    tiers: tuple[Tier, ...]
    slo: Slo = Slo()
    share_floor: float = 0.0
    thresholds: tuple[float | None, ...] = ()  # accept rule by tier; empty: requests go where they enter
    judged_tokens: int = 24  # of a rejected stream
    escalations_max: int = 8  # of one request
    judges_only: bool = False  # answers are scored, and none is given up
    deadline_s: float = 120.0
    questions: Sequence[Question] = ()


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the world does to measurements and pods."""

    scrape_s: float = 5.0
    lag_s: float = 5.0  # from a scrape until the planner can read it
    scrape_loss: float = 0.0  # part of the looks that find nothing
    blind_from_s: float = 0.0  # from here none of them finds anything,
    blind_until_s: float = 0.0  # until here
    look_s: float = 15.0  # between two looks of the planner
    cold_start_factor: float = 1.0
    step_factor: float = 1.0  # what the engines really need, of what their profile says
    start_failures: float = 0.0  # part of the pods that must start again


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request.  `prefix`: tokens at its beginning that earlier requests had, too."""

    at_s: float
    prompt: int
    output: int
    cached: int = 0
    question: int = field(default=0)
