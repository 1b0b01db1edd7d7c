"""Replicas of a whole cascade from one look at it, with reasons: what the live operator and the simulator both run.

State in, decision and state out; it reads no clock and keeps nothing itself.  What a tier wants comes from the total
arrivals and its planned share, never from the traffic that the router has just moved to it.  A look that found
nothing changes nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from modelfleet.plan import bias, fill, floor, joint, margin, misses, outage, rails
from modelfleet.plan.engine import Engine
from modelfleet.plan.forecast import growth, lasting, level
from modelfleet.plan.joint import Bound, Choice, Option
from modelfleet.plan.rails import Course
from modelfleet.plan.sizing import Carried, Lengths, Objectives, carried, step_s, work_s

_RATES_S = 2400.0  # of the past that is kept: what growth looks at, and the longest lead time
_HOUR_S = 3600.0
_MISSES_MAX = 0.2  # of the requests at the peak
_HOT = 5.0  # times as many misses at the peak as in a load that stays
_DRAIN_S = 60.0  # in which a backlog is to be worked off
_LOADED = 0.15  # of its capacity: below it a step time says nothing about load


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be tuned.  `peak`: quantile of growth; `deviations`: room for bursts, learned around this."""

    peak: float = 0.75
    owed: float = 1.0  # of its share of what came lately, that the last tier must carry alone
    deviations: float = 0.5
    reach: float = 1.0  # of what is learned, in deviations
    goal: float = 0.99  # of the requests within their objectives
    misses: float | None = None  # of a steady load, though nothing queues; None: what the goal leaves
    down_s: float = 300.0
    pooled: bool = True  # one peak for all tiers; False: every tier carries its own
    without: str = ""  # a rail that is left out (rails.HOLDING), for people who ask what it does


@dataclass(frozen=True, slots=True)
class TierLook:
    """One tier that has replicas of ours.  Prices in any unit that all tiers share."""

    name: str
    engine: Engine | None  # None: no profile says how fast it is; its slots and answers do
    price: float
    lead_s: float  # from an order to the first request
    share: float  # planned part of the entries, 0 to 1
    replicas: int  # wanted now
    ready: int
    starting: int  # not ready yet, and not for too long
    stuck: int  # starting for longer than is believable
    replicas_min: int
    replicas_max: int
    rate_rps: float  # requests that it got lately
    lengths: Lengths | None  # None: nothing was answered lately
    itl_s: float | None  # mean between tokens lately
    waiting: float  # requests that no replica works on
    kv: float  # used part of the fullest replica's memory
    slots: int = 0  # requests that one replica works on at a time
    answer_s: float | None = None  # mean that an answer takes lately; None: nothing was answered
    down_s: float | None = None  # how long a smaller load must last; None: as the settings say
    answers: float = 0.0  # since the look before
    good: float = 0.0  # of those, within the objective between tokens

    @property
    def coming(self) -> int:
        return self.ready + self.starting


@dataclass(frozen=True, slots=True)
class Look:
    """A cascade as seen at once.  `counts`: arrivals in equal intervals, lately, the newest last."""

    now_s: float
    look_s: float  # between two looks
    since_s: float  # the last look that found something was so long ago
    complete: bool  # False: numbers are missing, old, or none
    arrived: float  # requests of the cascade since the look before
    counts: Sequence[float]
    interval_s: float
    answers: float  # since the look before
    good: float  # of those, within the objectives
    goals: Objectives
    tiers: Sequence[TierLook]
    gauges: bool = False  # queues and memory are fresh, whatever `complete` says of the rest
    bounds: Sequence[Bound] = ()  # what budgets allow replicas to cost

    def __post_init__(self) -> None:
        # One check for all that look: what is no number says as little as one that is missing.
        if not all(map(math.isfinite, self._numbers())):
            for name in ("complete", "gauges"):
                object.__setattr__(self, name, False)

    def _numbers(self) -> Iterator[float]:
        yield from (self.now_s, self.since_s, self.arrived, self.answers, self.good, *self.counts)
        for tier in self.tiers:
            lengths = tier.lengths or Lengths(0.0, 0.0)
            yield from (tier.price, tier.lead_s, tier.share, tier.rate_rps, tier.waiting, tier.kv)
            yield from (tier.itl_s or 0.0, tier.answer_s or 0.0, tier.down_s or 0.0, tier.answers, tier.good)
            yield from (lengths.prompt, lengths.output, lengths.cached)


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered from look to look; small, and all that a restarted planner needs."""

    rates_rps: tuple[float, ...] = ()
    answered: tuple[tuple[float, float], ...] = ()  # answers and good ones by look, of an hour
    deviations: float | None = None
    samples: tuple[tuple[float, ...], ...] = ()  # step times over predicted ones, by tier
    courses: tuple[Course, ...] = ()  # by tier
    missed: tuple[misses.Seen, ...] = ()  # by tier
    attained: margin.Attained = margin.Attained()  # noqa: RUF009  frozen
    fills: tuple[fill.Fill, ...] = ()  # by tier


@dataclass(frozen=True, slots=True)
class TierPlan:
    """One tier.  `bound`: what asked for the last replica; `free`: replicas if no rail had held it."""

    replicas: int
    reason: str
    message: str
    bound: str
    free: int
    carries_rps: float  # one replica: at the peak, the last tier in a load that stays
    under_way: float  # requests that one replica has at the peak
    limit: str = ""  # what keeps one replica from carrying more


@dataclass(frozen=True, slots=True)
class Plan:
    """All tiers, in the order of the look."""

    tiers: tuple[TierPlan, ...]
    peak_rps: float  # what all together are sized for
    deviations: float
    feasible: bool = True


def plan(look: Look, state: State, settings: Settings) -> tuple[Plan, State]:
    """One decision."""
    if not look.complete:
        blind = ("MetricsStale", "No fresh and complete numbers, holding")
        return _hold(look, state, [blind] * len(look.tiers)), state
    state = _remembered(look, state, settings)
    sized, worth = _sized(look, state, settings)
    unsized = [_unsized(look, state, at, one.carried) for at, one in enumerate(sized)]
    if not any(one.known for one in sized):
        return _hold(look, state, unsized), state
    choice, peak_rps = _choose(look, state, settings, sized, worth)
    tiers, courses = [], []
    for at, one in enumerate(sized):
        bound, says = (choice.bound[at], "") if one.known else unsized[at]
        wish = rails.Wish(choice.replicas[at], bound, says, choice.most[at])
        facts = _facts(look, state, settings, at, one.carried)
        verdict, course = rails.settle(wish, facts, state.courses[at], without=settings.without)
        courses.append(course)
        tiers.append(
            TierPlan(
                verdict.replicas,
                verdict.reason,
                verdict.message,
                wish.bound,
                wish.replicas,
                # A burst is the cheap tiers' matter; the last keeps the load that it was planned for.
                one.steady_rps if _relieved(look, settings, at) else one.carried.rate_rps,
                one.carried.under_way,
                one.carried.bound,
            )
        )
    found = Plan(tuple(tiers), peak_rps, state.deviations or 0.0, choice.feasible)
    return found, replace(state, courses=tuple(courses))


@dataclass(frozen=True, slots=True)
class _Sized:
    """One tier.  `carried`: by one replica at the peak."""

    carried: Carried
    steady_rps: float
    spender: misses.Spender | None = None  # None: no profile says how it slows down

    @property
    def known(self) -> bool:
        return self.carried.known

    def replicas(self, rate_rps: float, worth: float) -> int:
        """For a load that stays."""
        if not self.known:
            return 0
        least = math.ceil(rate_rps / self.carried.rate_rps - 1e-9)  # by places, memory and first tokens, too
        return least if self.spender is None else max(least, self.spender.replicas(rate_rps, worth))


def _sized(look: Look, state: State, settings: Settings) -> tuple[list[_Sized], float]:
    """What one replica of each tier carries, and what a missed request is worth where the cascade spends them best."""
    spenders: dict[int, misses.Spender] = {}
    for at, (tier, known, seen) in enumerate(zip(look.tiers, state.samples, state.missed, strict=True)):
        if tier.engine is not None and tier.lengths is not None:
            engine = _engine(tier.engine, known)
            work, empty = work_s(engine, tier.lengths), engine.step_s / look.goals.itl_s
            spenders[at] = misses.Spender(tier.share, tier.price, work, empty, seen.factor)
    allowed = 1 - settings.goal if settings.misses is None else settings.misses
    steady = misses.worth(list(spenders.values()), allowed)
    peak = misses.worth(list(spenders.values()), max(allowed, min(_MISSES_MAX, _HOT * allowed)))
    found = []
    for at, (tier, known) in enumerate(zip(look.tiers, state.samples, strict=True)):
        if tier.engine is None:
            slots = fill.carried(tier, state.fills[at])
            found.append(_Sized(slots, slots.rate_rps))
        elif tier.lengths is None:
            found.append(_Sized(Carried(), 0.0))
        else:
            engine, spender = _engine(tier.engine, known), spenders[at]
            hot, calm = (
                carried(
                    engine, tier.lengths, replace(look.goals, itl_s=look.goals.itl_s * spender.part(worth))
                )
                for worth in (peak, steady)
            )
            found.append(_Sized(hot, calm.rate_rps, spender))
    return found, steady


def _engine(engine: Engine, samples: Sequence[float]) -> Engine:
    return engine.times(bias.factor(samples))


def _facts(look: Look, state: State, settings: Settings, at: int, one: Carried) -> rails.Facts:
    tier = look.tiers[at]
    load_rps = (
        lasting(state.rates_rps, look_s=look.look_s) * tier.share * settings.owed
        if _relieved(look, settings, at)
        else max(tier.rate_rps, level(state.rates_rps, look_s=look.look_s) * tier.share)
    )
    return rails.Facts(
        now_s=look.now_s,
        replicas=tier.replicas,
        ready=tier.ready,
        starting=tier.starting,
        stuck=tier.stuck if one.known else 0,  # what is only held must not grow by what never starts
        replicas_min=tier.replicas_min,
        replicas_max=tier.replicas_max,
        waiting=tier.waiting,
        kv=tier.kv,
        load=load_rps / max(1e-9, one.rate_rps),
        down_s=settings.down_s if tier.down_s is None else tier.down_s,
        stopped=outage.stopped(state.rates_rps, look_s=look.look_s),
    )


def _relieved(look: Look, settings: Settings, at: int) -> bool:
    """The router takes from the last tier what it cannot carry for a while."""
    return settings.pooled and 0 < at == len(look.tiers) - 1


def _choose(
    look: Look, state: State, settings: Settings, sized: Sequence[_Sized], worth: float
) -> tuple[Choice, float]:
    """The cheapest replicas for what each owes alone and for the peak that all carry together."""
    deviations = settings.deviations if state.deviations is None else state.deviations
    now_rps = level(state.rates_rps, look_s=look.look_s)
    steady_rps = lasting(state.rates_rps, look_s=look.look_s)
    uneven = margin.dispersion(look.counts)
    ours = sum(tier.share for tier in look.tiers)  # the rest goes to tiers without replicas
    grown = {
        lead_s: growth(state.rates_rps, look_s=look.look_s, horizon_s=lead_s + look.look_s)
        for lead_s in {tier.lead_s for tier in look.tiers}
    }
    options: list[Option] = []
    peaks = []
    for tier, one in zip(look.tiers, sized, strict=True):
        later_rps = grown[tier.lead_s].later_rps(now_rps, settings.peak)
        # A burst shorter than an answer is spread over the answer.
        lasts_s = one.carried.under_way / one.carried.rate_rps if one.known else 0.0
        interval_s = max(look.interval_s, lasts_s)
        room_rps = margin.room_rps(later_rps, uneven, interval_s=interval_s, deviations=deviations)
        peaks.append(later_rps + room_rps + _backlog(tier, one.carried.rate_rps, now_rps) / _DRAIN_S)
        steady = _relieved(look, settings, len(options))
        owes_rps = (steady_rps * settings.owed if steady else now_rps) * tier.share
        if not settings.pooled:
            owes_rps = peaks[-1] * tier.share
        carries_rps = one.carried.rate_rps
        least, low, most = one.replicas(owes_rps, worth), tier.replicas_min, tier.replicas_max
        if not one.known:  # it stays as it is, and carries nothing that one could count on
            least, low, most = tier.replicas, tier.replicas, tier.replicas
        options.append(Option(tier.name, carries_rps, tier.price, least, low, most, tier.replicas))
    # What fills the peak is the tier that is cheapest per request: its lead time is how far the peak has to be known.
    filler = min(range(len(options)), key=lambda at: options[at].price / max(1e-9, options[at].carries_rps))
    peak_rps = peaks[filler] * ours if settings.pooled else 0.0
    return joint.choose(options, peak_rps, look.bounds, lasting_rps=steady_rps * ours), peak_rps


def _backlog(tier: TierLook, carries_rps: float, now_rps: float) -> float:
    """Requests that would still wait when a replica ordered now is there: the rest is no reason to order one.

    A replica that starts is the answer to what piles up until it is there, so what it carries while a new one would
    start counts as a whole; of those that are ready it is what they carry beyond what arrives.
    """
    spare_rps = max(0.0, tier.ready * carries_rps - max(tier.rate_rps, now_rps * tier.share))
    coming = tier.starting * carries_rps * max(tier.lead_s, _DRAIN_S)
    return max(0.0, tier.waiting - spare_rps * tier.lead_s - coming)


def _remembered(look: Look, state: State, settings: Settings) -> State:
    """What this look adds to what is known."""
    rates = (*state.rates_rps, look.arrived / max(1e-9, look.since_s))[-round(_RATES_S / look.look_s) :]
    answered = (*state.answered, (look.answers, look.good))[-round(_HOUR_S / look.look_s) :]
    # A replica that is late is no uneven traffic: what misses while one starts asks for no wider room.
    late = any(tier.starting for tier in look.tiers)
    attained = state.attained.after(
        0.0 if late else look.answers, good=0.0 if late else look.good, seconds=look.since_s
    )
    deviations = margin.adapted(
        settings.deviations if state.deviations is None else state.deviations,
        attained=attained.share,
        goal=settings.goal,
        base=settings.deviations,
        reach=settings.reach,
        seconds=look.since_s,
    )
    samples = state.samples or tuple(() for _ in look.tiers)
    samples = tuple(_sampled(tier, known) for tier, known in zip(look.tiers, samples, strict=True))
    missed = state.missed or tuple(misses.Seen() for _ in look.tiers)
    return State(
        rates,
        answered,
        deviations,
        samples,
        state.courses or tuple(Course() for _ in look.tiers),
        tuple(
            _missed(tier, look, known, seen)
            for tier, known, seen in zip(look.tiers, samples, missed, strict=True)
        ),
        attained,
        fill.seen(look.tiers, state.fills, goal=settings.goal, seconds=look.since_s),
    )


def _missed(tier: TierLook, look: Look, samples: Sequence[float], seen: misses.Seen) -> misses.Seen:
    # What waited missed for another reason.
    if (
        tier.engine is None
        or tier.lengths is None
        or not tier.ready
        or tier.waiting > tier.ready
        or tier.starting
    ):
        return seen
    engine = _engine(tier.engine, samples)
    part = step_s(engine, tier.lengths, tier.rate_rps / tier.ready) / look.goals.itl_s
    if part >= 1:
        return seen
    return seen.after(tier.answers, missed=tier.answers - tier.good, part=part, seconds=look.since_s)


def _sampled(tier: TierLook, known: tuple[float, ...]) -> tuple[float, ...]:
    # Pods that come or go make a mean over all of them mean nothing.
    if (
        tier.itl_s is None
        or tier.engine is None
        or tier.lengths is None
        or tier.starting
        or tier.ready != tier.replicas
        or not tier.ready
    ):
        return known
    load = tier.rate_rps / tier.ready * work_s(tier.engine, tier.lengths)
    if tier.waiting > tier.ready or load < _LOADED or tier.itl_s <= 0:
        return known
    return bias.remember(known, bias.slowness(tier.itl_s, empty_s=tier.engine.step_s, load=load))


def _unsized(look: Look, state: State, at: int, one: Carried) -> tuple[str, str]:
    """Reason and message where no number of replicas follows from what `one` carries."""
    reason, tier = one.bound or "NoAnswers", look.tiers[at]
    if reason != "Infeasible" or tier.engine is None:
        return reason, rails.UNSIZED.get(reason, "")
    # As its profile says; a tier that has shown to be slower, as it has shown.
    engines = (tier.engine, _engine(tier.engine, state.samples[at]))
    told = (floor.too_strict(tier.name, engine, tier.lengths, look.goals) for engine in engines)
    text = next(filter(None, told), None)
    return reason, f"No replica keeps {text}; holding" if text else rails.UNSIZED[reason]


def _hold(look: Look, state: State, why: Sequence[tuple[str, str]]) -> Plan:
    """Everything as it is, but for engines that are full where that much is known."""
    held = []
    for at, (tier, (reason, message)) in enumerate(zip(look.tiers, why, strict=True)):
        fresh = look.gauges or look.complete
        full = rails.full(_facts(look, state, Settings(), at, Carried())) if fresh else None
        verdict = full or rails.Verdict(tier.replicas, reason, message)
        held.append(
            TierPlan(verdict.replicas, verdict.reason, verdict.message, reason, tier.replicas, 0.0, 0.0)
        )
    return Plan(tuple(held), 0.0, state.deviations or 0.0)
