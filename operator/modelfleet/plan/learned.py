"""What the planner has learned of a group of Cascades, as text that survives a restart: small, and read strictly.

A restarted operator that reads it back decides as the old one would.  What cannot be read is forgotten as a whole: a
planner that knows nothing holds back, one that knows half of it might not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from modelfleet.plan.planner import Look, State
from modelfleet.plan.rails import Course

TEXT_BYTES_MAX = 65_536
STARTS_MAX = 20  # of each tier
_CHANGES_MAX = 64  # of each tier that are kept; a tier that changed more often within an hour flaps anyway
_BY_TIER = ("samples", "courses", "missed", "fills")  # fields of State with one entry for each tier


@dataclass(frozen=True, slots=True)
class Start:
    """How long one pod took from its creation until it answered, in seconds, by what it waited for."""

    uid: str
    scheduling_s: float
    image_s: float
    weights_s: float  # a download before the engine starts; what the engine loads itself is in engine_s
    engine_s: float

    @property
    def total_s(self) -> float:
        return self.scheduling_s + self.image_s + self.weights_s + self.engine_s


@dataclass(frozen=True, slots=True)
class Shown:
    """What the answers of one tier were like when there were some last; None: there never were."""

    prompt_tokens: float | None = None
    output_tokens: float | None = None
    answer_s: float | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """`tiers`: whose entries those by tier in `state` are."""

    state: State = field(default_factory=State)
    tiers: tuple[str, ...] = ()
    starts: Mapping[str, tuple[Start, ...]] = field(default_factory=dict)  # by tier, the oldest first
    shown: Mapping[str, Shown] = field(default_factory=dict)  # by tier
    at_s: float = 0.0  # of the last look that found something


_TEXT: TypeAdapter[Learned] = TypeAdapter(Learned)


def encode(learned: Learned) -> str:
    """As JSON of at most TEXT_BYTES_MAX bytes."""
    courses = tuple(replace(one, changes=one.changes[-_CHANGES_MAX:]) for one in learned.state.courses)
    text = _TEXT.dump_json(replace(learned, state=replace(learned.state, courses=courses)))
    if len(text) <= TEXT_BYTES_MAX:
        return text.decode()
    less = _less(learned)
    return encode(less if less != learned else _of_all(learned))


def decode(text: str) -> Learned:
    """What `encode` made.  Raises ValueError for anything else."""
    try:
        return _TEXT.validate_json(text)
    except ValidationError as err:
        first = err.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from err


def state_of(learned: Learned, tiers: Sequence[str]) -> State:
    """The state for these tiers in this order; a tier that is new starts without a past."""
    state = learned.state
    if learned.tiers == tuple(tiers):
        return state
    places = {name: at for at, name in enumerate(learned.tiers)}
    blank: dict[str, Any] = {"samples": (), "courses": Course()}
    moved: dict[str, Any] = {}
    for name in _BY_TIER:
        known = getattr(state, name)
        fresh = blank[name] if name in blank else type(known[0])() if known else None
        moved[name] = (
            tuple(known[places[tier]] if tier in places else fresh for tier in tiers) if known else ()
        )
    return replace(state, **moved)


def after_silence(state: State, look: Look) -> State:
    """For the first look after a time in which nobody looked: nothing shrinks before its window has passed again.

    Nobody knows what the load asked for meanwhile, so it may have been what runs.
    """
    courses = state.courses or tuple(Course() for _ in look.tiers)
    held = tuple(
        replace(
            course,
            wishes=(
                *(wish for wish in course.wishes if wish[1] != tier.replicas),
                (look.now_s, tier.replicas),
            ),
        )
        for course, tier in zip(courses, look.tiers, strict=True)
    )
    return replace(state, courses=held)


def with_start(learned: Learned, tier: str, start: Start) -> Learned:
    """With one more start, once for each pod."""
    known = learned.starts.get(tier, ())
    if any(one.uid == start.uid for one in known):
        return learned
    return replace(learned, starts={**learned.starts, tier: (*known, start)[-STARTS_MAX:]})


def _less(learned: Learned) -> Learned:
    """Without the older half of whatever grows: a smaller past makes the planner more careful, not wrong."""
    state = learned.state
    halved = replace(
        state,
        rates_rps=state.rates_rps[len(state.rates_rps) // 2 :],
        answered=state.answered[len(state.answered) // 2 :],
        samples=tuple(one[len(one) // 2 :] for one in state.samples),
        courses=tuple(Course(one.wishes[-1:], one.changes[-1:]) for one in state.courses),
    )
    starts = {tier: known[len(known) // 2 :] for tier, known in learned.starts.items()}
    return replace(learned, state=halved, starts=starts)


def _of_all(learned: Learned) -> Learned:
    """What is left where not even the newest entry of so many tiers has room: what is known of all of them together."""
    nothing: dict[str, Any] = dict.fromkeys(_BY_TIER, ())
    return Learned(replace(learned.state, **nothing), at_s=learned.at_s)
