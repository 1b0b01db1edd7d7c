"""From what the load asks for to what may be done now: ordered named rules, the first with an opinion wins.

Nothing here stops a tier from growing; everything that shrinks one has to pass them all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from modelfleet.plan.joint import ANY

_HOUR_S = 3600.0
_FLIPS_MAX = 4  # an hour; more doubles the time that a smaller load must last
_KV_FULL = 0.8
_QUEUE_FULL = 5.0  # requests per ready replica
_QUIET = 2.0  # requests per ready replica that wait for the step under way, and for nothing else
UNSIZED = {
    "NoAnswers": "The tier has answered nothing lately, holding",
    "Infeasible": "Not even an idle replica keeps spec.slo of the Cascade, holding",
}
_FITS = 0.9  # of what the replicas that stay would carry and hold


@dataclass(frozen=True, slots=True)
class Wish:
    """Replicas that the load asks for, what asked for the last of them, and in what words where nothing could."""

    replicas: int
    bound: str
    says: str = ""
    most: int = ANY  # that budgets pay for, never below what the load is given


@dataclass(frozen=True, slots=True)
class Facts:
    """One tier now.  `load`: its requests in replicas' worth of capacity."""

    now_s: float
    replicas: int
    ready: int
    starting: int
    stuck: int
    replicas_min: int
    replicas_max: int
    waiting: float
    kv: float
    load: float
    down_s: float
    stopped: bool = False  # all traffic at once


@dataclass(frozen=True, slots=True)
class Course:
    """What a tier was asked for, and which way it went."""

    wishes: tuple[tuple[float, int], ...] = ()  # when last asked for, replicas
    changes: tuple[tuple[float, int], ...] = ()  # when, by how many


@dataclass(frozen=True, slots=True)
class Verdict:
    """Replicas to have."""

    replicas: int
    reason: str
    message: str


Rule = Callable[[Wish, Facts, Course], Verdict | None]


def keep_bounds(wish: Wish, facts: Facts, course: Course) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    if facts.replicas < facts.replicas_min:
        return Verdict(facts.replicas_min, "BelowMinimum", "Fewer replicas than minReplicas")
    if facts.replicas > facts.replicas_max:
        if wish.most <= facts.replicas_max:
            return Verdict(
                facts.replicas_max, "AboveBudget", "spec.budget of a Cascade does not pay for more replicas"
            )
        return Verdict(facts.replicas_max, "AboveMaximum", "More replicas than maxReplicas")
    return None


def grow_when_full(wish: Wish, facts: Facts, course: Course) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    return full(facts) if wish.replicas <= facts.replicas else None


def is_full(*, waiting: float, kv: float, ready: int) -> bool:
    """Whether so many replicas hold no more.  `waiting`: requests of all; `kv`: used part of the fullest one's memory."""
    return kv >= _KV_FULL or waiting >= _QUEUE_FULL * max(1, ready)


def full(facts: Facts) -> Verdict | None:
    """One replica more, whatever the model believes: memory and queues do not lie."""
    # One at a time, and pods that start are the answer.
    are_full = is_full(waiting=facts.waiting, kv=facts.kv, ready=facts.ready)
    if are_full and not facts.starting and facts.replicas < facts.replicas_max:
        return Verdict(facts.replicas + 1, "EngineFull", "KV cache or queue of the replicas is full")
    return None


def grow(wish: Wish, facts: Facts, course: Course) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    if wish.replicas > facts.replicas:
        return Verdict(wish.replicas, "LoadAhead", "The load until a new replica is ready needs more")
    if wish.bound in UNSIZED:
        return _held(facts, wish.bound, wish.says or UNSIZED[wish.bound])
    if wish.replicas == facts.replicas:
        reason = {"Minimum": "AtMinimum", "Maximum": "AtMaximum", "Budget": "AtBudget"}.get(
            wish.bound, "Fits"
        )
        text = {
            "AtMaximum": "The load asks for more than maxReplicas",
            "AtBudget": "spec.budget of a Cascade pays for no more",
        }.get(reason, "The load fits the replicas")
        return Verdict(facts.replicas, reason, text)
    return None


def wait_for_starting(wish: Wish, facts: Facts, course: Course) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # Pods that start are supply on the way up; on the way down they have carried nothing yet.
    if facts.ready < wish.replicas:
        return _held(facts, "PodsStarting", "Not shrinking before the replicas that would stay are ready")
    return None


def wait_for_return(wish: Wish, facts: Facts, course: Course) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # What stops altogether comes back at once, and as much as before, more often than it stays away.
    if facts.stopped:
        return _held(
            facts, "TrafficStopped", "All traffic stopped at once, which is no smaller load: waiting for it"
        )
    return None


def wait_for_window(wish: Wish, facts: Facts, course: Course) -> Verdict | None:
    if stable(wish, facts, course) >= facts.replicas:
        return _held(facts, "StabilizationWindow", "Waiting until the load has asked for fewer throughout")
    return None


def keep_what_is_needed(wish: Wish, facts: Facts, course: Course) -> Verdict | None:
    if facts.waiting > _QUIET * facts.ready or _enough(wish, facts, course) == facts.replicas:
        return _held(facts, "WouldNotFit", "The replicas that would stay could not take over what runs")
    return None


def shrink(wish: Wish, facts: Facts, course: Course) -> Verdict | None:
    return Verdict(_enough(wish, facts, course), "LoadFits", "Fewer replicas carry the load ahead")


def _enough(wish: Wish, facts: Facts, course: Course) -> int:
    """The fewest replicas, from those asked for up to the present ones, that could take over what runs."""
    fewer = range(stable(wish, facts, course), facts.replicas)
    return next((left for left in fewer if _takes_over(left, facts)), facts.replicas)


def _takes_over(left: int, facts: Facts) -> bool:
    # Replicas that are not ready relieve nobody yet.
    squeezed = facts.kv * max(1.0, facts.ready / max(1, left))
    return facts.load <= _FITS * left and squeezed < _FITS * _KV_FULL


RULES: Sequence[Rule] = (
    keep_bounds,  # the user's word
    grow_when_full,
    grow,
    wait_for_starting,
    wait_for_return,
    wait_for_window,
    keep_what_is_needed,
    shrink,  # last: always answers
)


# What the rails after each of these see, where it is left out.
_LEFT_OUT: Mapping[str, Callable[[Facts], Facts]] = {
    "EngineFull": lambda facts: facts,
    "PodsStarting": lambda facts: replace(facts, ready=facts.replicas),
    "TrafficStopped": lambda facts: facts,
    "StabilizationWindow": lambda facts: replace(facts, down_s=0.0),
    "WouldNotFit": lambda facts: replace(facts, load=0.0, kv=0.0),
}
HOLDING = tuple(_LEFT_OUT)


def settle(wish: Wish, facts: Facts, course: Course, *, without: str = "") -> tuple[Verdict, Course]:
    """What to do, and the course with this look in it.  `without`: one of HOLDING, which is left out."""
    facts = replace(facts, replicas_max=min(facts.replicas_max, max(facts.replicas_min, wish.most)))
    wanted = min(facts.replicas_max, max(facts.replicas_min, wish.replicas + facts.stuck))
    wish = replace(wish, replicas=wanted)
    since_s = facts.now_s - 2 * facts.down_s
    # Whoever has not looked on for long does not know that what it finds is too much: that is the first wish.
    past = tuple(one for one in course.wishes if one[0] > since_s) or ((facts.now_s, facts.replicas),)
    kept = tuple(one for one in past if one[1] != wanted)
    changes = tuple(one for one in course.changes if one[0] > facts.now_s - _HOUR_S)
    course = Course((*kept, (facts.now_s, wanted)), changes)
    for rule in RULES:
        verdict = rule(wish, facts, course)
        if verdict and verdict.reason == without:
            facts = _LEFT_OUT[without](facts)
        elif verdict:
            by = verdict.replicas - facts.replicas
            return verdict, replace(course, changes=(*changes, (facts.now_s, by))) if by else course
    raise AssertionError("shrink always answers")


def stable(wish: Wish, facts: Facts, course: Course) -> int:
    """The most that was asked for within the window; a tier that flaps has twice the window."""
    ways = [by > 0 for _, by in course.changes]
    flips = sum(before != after for before, after in pairwise(ways))
    window_s = facts.down_s * (2 if flips > _FLIPS_MAX else 1)
    return max(
        wish.replicas, *(n for at_s, n in course.wishes if at_s > facts.now_s - window_s), wish.replicas
    )


def _held(facts: Facts, reason: str, message: str) -> Verdict:
    return Verdict(facts.replicas, reason, message)
