"""What a source of measurements knows about the fleet: numbers by object, unjudged.

Two sources fill it alike: Prometheus, and the operator's own reading of routers and engines.  None is "no such
sample", never zero; whoever reads it looks at `age_s` and `routers` before believing anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelfleet.plan.buckets import Buckets
from modelfleet.plan.snapshot import Name, SourceName

INTERVAL_S = 15.0  # of `CascadeLoad.counts`; no scrape interval that we ask for is longer
RATE_S = 60.0  # "the last minute"
MEANS_S = 600.0  # "lately": what changes slowly


@dataclass(frozen=True, slots=True)
class Kept:
    """Answers since the last look, and those of them within the objectives."""

    answers: float
    good: float


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered since the last look."""

    count: float  # answers, streams or not
    ttft: Buckets | None = None  # seconds, of streams
    # Seconds between two tokens, the mean of each stream: what an itlP95 means.  (TierLoad.itl counts single gaps.)
    itl: Buckets | None = None

    def kept(self, *, ttft_s: float | None, itl_s: float | None) -> Kept | None:
        """How many of them kept the objectives; None for an objective: there is none.

        Latencies are measured of streams, in buckets (see Buckets.within for a bound between two edges).  The shares
        of streams whose first token, and whose mean time between tokens, are within their bounds are each taken for a
        share of answers, and the smaller one counts: an overloaded engine misses both with the same answers.
        Answers without a stream keep what streams keep.  None where nobody measured; without any stream all are
        taken to be good.
        """
        shares = [1.0]
        for seen, bound_s in ((self.ttft, ttft_s), (self.itl, itl_s)):
            if bound_s is None:
                continue
            if seen is None:
                return None
            share = seen.within(bound_s)
            if share is not None:
                shares.append(share)
        return Kept(self.count, self.count * min(shares))


@dataclass(frozen=True, slots=True)
class TierLoad:
    """One ModelTier over all Cascades and routers."""

    in_flight: float | None = None  # requests, waiting ones included, mean of the last 15 s
    age_s: float | None = None  # of the oldest router's sample, by the source's own clock
    routers: int = 0  # router replicas that report now
    # Requests that came to it: entered here, were passed on or escalated to here.  Last minute.
    rate_rps: float | None = None
    # Seconds from asking for a replica to the first event of a stream; last minute.  A count of zero tells an idle
    # tier from one that nobody measures.
    ttft: Buckets | None = None
    itl: Buckets | None = None  # seconds between two events of a stream; last minute
    answers: Answers | None = None
    prompt_tokens: float | None = None  # mean of an answer, given up ones included, lately
    output_tokens: float | None = None  # likewise
    cached_share: float | None = None  # of the prompt tokens, found in engines' prefix caches; 0 to 1, lately
    # Mean seconds of an answer lately, without the time that requests waited for a replica.  Of an escalated request
    # the time at the tiers before is in it.
    answer_s: float | None = None
    waiting_router: float | None = None  # requests that wait at routers for a place at a replica, now
    waiting_engines: float | None = None  # requests that engines have taken and do not work on yet, now
    kv_used: float | None = None  # used part of the KV cache of the fullest replica, 0 to 1; vLLM only
    engines: int = 0  # replicas whose own metrics could be read
    source: SourceName = "Prometheus"


@dataclass(frozen=True, slots=True)
class StepLoad:
    """One tier of one Cascade, by its name there.  All of it lately."""

    judged: float | None = None  # answers with a verdict; None: it has no accept rule
    escalated: float | None = None  # answers that were given up for the next tier's
    scored: float | None = None  # answers that the score alone decided about, not a validator
    scores: Buckets | None = None  # log probabilities of judged answers
    scores_now: Buckets | None = None  # likewise, of the last minute


@dataclass(frozen=True, slots=True)
class CascadeLoad:
    """One Cascade over all its routers."""

    age_s: float | None = None  # of the oldest router's sample
    routers: int = 0  # router replicas that report now
    arrived: float | None = None  # requests since the last look
    # Requests in equal intervals of INTERVAL_S, the newest last; at most MEANS_S of them, fewer after a start.
    counts: tuple[float, ...] = ()
    answers: Answers | None = None  # over all its tiers
    failed: float | None = None  # errors that clients saw since the last look
    steps: Mapping[str, StepLoad] = field(default_factory=dict)
    source: SourceName = "Prometheus"

    def kept(self, *, ttft_s: float | None, itl_s: float | None) -> Kept | None:
        """How many answers since the last look kept the objectives (see Answers.kept); None: nobody counted."""
        return None if self.answers is None else self.answers.kept(ttft_s=ttft_s, itl_s=itl_s)


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """One look."""

    tiers: Mapping[Name, TierLoad]
    started: Mapping[Name, Mapping[str, float]]  # requests of the last hour by Cascade and step
    answered: Mapping[Name, Mapping[str, float]]  # likewise
    cascades: Mapping[Name, CascadeLoad] = field(default_factory=dict)
    since_s: float = INTERVAL_S  # what "since the last look" means here, in seconds


NOTHING = FleetLoad(tiers={}, started={}, answered={})
