"""Where requests start, and why: entry weights of a Cascade, ordered rules, the first with an opinion wins.

Laws, whatever is measured: weights sum to 1000; a tier without a ready replica gets nothing (as long as another
has one); weight.min and weight.max bind the ready tiers as far as the sum allows; load moves a weight by at most
one step per interval, and only on data that is fresh and complete.  A cold tier, which one request wakes, counts as
ready, but gets no entries that are not its own while another tier answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelfleet import names
from modelfleet.plan.scale import queue_per_replica
from modelfleet.plan.share_out import bind, move, pass_on
from modelfleet.plan.snapshot import CascadeSnapshot, Step, usable

# A tier that shed load takes it back only when this part of its slots would hold all it works on: the gap between
# shedding and taking back is the hysteresis.
_ROOM_BELOW = 0.75


@dataclass(frozen=True, slots=True)
class WeightsVerdict:
    """Entry weights in permille by tier.  `out`: tiers without entries because they were not ready."""

    weights: Mapping[str, int]
    reason: str
    message: str
    out: frozenset[str] = frozenset()
    stepped: bool = False  # a step because of load: the next one waits for weights.interval


Rule = Callable[[CascadeSnapshot], WeightsVerdict | None]


def keep_when_paused(snap: CascadeSnapshot) -> WeightsVerdict | None:
    if snap.paused and snap.weights is not None:
        return WeightsVerdict(snap.weights, "Paused", "The Cascade is paused by annotation", snap.out)
    return None


def keep_when_pinned(snap: CascadeSnapshot) -> WeightsVerdict | None:
    if snap.pinned is not None:
        # Break-glass: ready or not, the router falls over to the next tier by itself.
        message = f"Annotation {names.ANNOTATION_PIN_WEIGHTS} decides about weights"
        return WeightsVerdict(snap.pinned, "Pinned", message)
    return None


def stay_fixed(snap: CascadeSnapshot) -> WeightsVerdict | None:
    if snap.mode == "Fixed":
        # The router falls over to the next tier by itself; the user asked for these weights and gets them.
        return WeightsVerdict(_initial(snap), "Fixed", "spec.weights.mode is Fixed")
    return None


def start(snap: CascadeSnapshot) -> WeightsVerdict | None:
    if snap.weights is not None and not snap.respecified:
        return None
    ready = frozenset(step.name for step in snap.steps if step.ready or step.cold)
    reason, message = ("Initial", "The initial weights") if snap.weights is None else _RESPECIFIED
    if not ready:
        return WeightsVerdict(_initial(snap), reason, message)
    return WeightsVerdict(_calm(snap, ready), reason, message, _names(snap) - ready)


def keep_when_none_ready(snap: CascadeSnapshot) -> WeightsVerdict | None:
    if any(step.ready or step.cold for step in snap.steps):
        return None
    # Weights that say nothing would be lost knowledge: the router answers 503 until a tier is ready.
    return WeightsVerdict(_last(snap), "NoTierReady", "No tier has a ready replica; weights stay", snap.out)


def leave_unready(snap: CascadeSnapshot) -> WeightsVerdict | None:
    """At once and without steps: every request that starts at a dead tier costs its client time."""
    ready = _eligible(snap)
    gone = sorted(name for name, weight in _last(snap).items() if weight and name not in ready)
    if not gone:
        return None
    weights = bind(_passed_on(_last(snap), snap, ready), _bounds(snap, ready))
    message = f"No ready replica of {', '.join(gone)}"
    return WeightsVerdict(weights, "TierNotReady", message, _names(snap) - ready)


def return_ready(snap: CascadeSnapshot) -> WeightsVerdict | None:
    ready = _eligible(snap)
    back = sorted(snap.out & ready)
    if not back:
        return None
    calm = _calm(snap, ready)
    last = bind(_last(snap), _bounds(snap, ready))
    weights = move(last, towards=calm, receivers=back, limit=1000)
    message = f"Ready again: {', '.join(back)}"
    return WeightsVerdict(weights, "TierReady", message, _names(snap) - ready)


def shed_saturated(snap: CascadeSnapshot) -> WeightsVerdict | None:
    # Where routers move entries by a plan, they have done it already, and what they owe each other is theirs to know.
    if not snap.step_due or snap.planned:
        return None
    ready = _eligible(snap)
    bounds = _bounds(snap, ready)
    weights = dict(_last(snap))
    gained = dict.fromkeys(weights, 0)
    shed = []
    for donor in (step for step in snap.steps if step.name in ready and saturated(step, snap)):
        amount = min(snap.step_max, weights[donor.name] - bounds[donor.name][0])
        for heir in _after(snap, donor):
            if heir.name not in ready or not has_room(heir, snap):
                continue
            room = min(bounds[heir.name][1] - weights[heir.name], snap.step_max - gained[heir.name])
            given = max(0, min(amount, room))
            weights[donor.name] -= given
            weights[heir.name] += given
            gained[heir.name] += given
            amount -= given
            shed += [donor.name] * bool(given)
    if not shed:
        return None
    message = f"More requests wait than the target at {', '.join(sorted(set(shed)))}"
    return WeightsVerdict(weights, "Saturated", message, snap.out, stepped=True)


def take_back(snap: CascadeSnapshot) -> WeightsVerdict | None:
    if not snap.step_due:
        return None
    ready = _eligible(snap)
    last = _last(snap)
    calm = _calm(snap, ready)
    able = sorted(
        step.name
        for step in snap.steps
        if step.name in ready and last[step.name] < calm[step.name] and has_room(step, snap)
    )
    weights = move(last, towards=calm, receivers=able, limit=snap.step_max)
    if weights == last:
        return None
    if snap.planned:
        return WeightsVerdict(weights, "Planned", "What the plan has for each tier", snap.out, stepped=True)
    message = f"Room again at {', '.join(able)}"
    return WeightsVerdict(weights, "LoadRestored", message, snap.out, stepped=True)


def keep(snap: CascadeSnapshot) -> WeightsVerdict | None:
    return WeightsVerdict(_last(snap), "Unchanged", "Nothing to change", snap.out)


RULES: tuple[Rule, ...] = (
    keep_when_paused,
    keep_when_pinned,
    stay_fixed,
    start,
    keep_when_none_ready,
    leave_unready,  # before anything that may give weight
    return_ready,
    shed_saturated,
    take_back,
    keep,  # last: always answers
)


def decide(snap: CascadeSnapshot) -> WeightsVerdict:
    """The first rule with an opinion wins."""
    for rule in RULES:
        if verdict := rule(snap):
            return verdict
    raise AssertionError("keep always answers")


def saturated(step: Step, snap: CascadeSnapshot) -> bool:
    """Whether more requests wait per replica than the target; False where that cannot be known.

    What waits at a cold tier waits for its first replica, and is no reason to send less there.
    """
    if not step.ready:
        return False
    in_flight = usable(step.in_flight, stale_after_s=snap.stale_after_s)
    if in_flight is None or step.slots is None:
        return False
    return queue_per_replica(in_flight, replicas=step.ready, slots=step.slots) > step.queue_target


def has_room(step: Step, snap: CascadeSnapshot) -> bool:
    """Whether slots are free; False where that cannot be known.  An external API's limits are not ours to know."""
    if step.slots is None or not step.ready:
        return step.ready > 0
    in_flight = usable(step.in_flight, stale_after_s=snap.stale_after_s)
    return in_flight is not None and in_flight <= _ROOM_BELOW * step.ready * step.slots


_RESPECIFIED = ("SpecChanged", "The weights in the spec, or their pin, changed")


def _eligible(snap: CascadeSnapshot) -> frozenset[str]:
    """Tiers that may get entries: ready, and, where they come back, ready for long enough; or cold.

    A cold tier keeps its entries: they are what wakes it.
    """
    ready = {step.name: step.ready_for_s for step in snap.steps if step.ready}
    cold = frozenset(step.name for step in snap.steps if step.cold)
    settled = frozenset(
        name for name, ready_for_s in ready.items() if name not in snap.out or ready_for_s >= snap.hold_s
    )
    return (settled or frozenset(ready)) | cold


def _passed_on(weights: Mapping[str, int], snap: CascadeSnapshot, ready: frozenset[str]) -> dict[str, int]:
    """The weights with those of tiers outside `ready` given to others; to a cold one only where no other is left."""
    warm = frozenset(step.name for step in snap.steps if step.ready) & ready
    return pass_on(weights, order=_order(snap), to=warm or ready, keep=ready)


def _calm(snap: CascadeSnapshot, ready: frozenset[str]) -> dict[str, int]:
    """Where weights return to while exactly `ready` is ready."""
    return bind(_passed_on(_initial(snap), snap, ready), _bounds(snap, ready))


def _bounds(snap: CascadeSnapshot, ready: frozenset[str]) -> dict[str, tuple[int, int]]:
    return {s.name: (s.weight_min, s.weight_max) if s.name in ready else (0, 0) for s in snap.steps}


def _initial(snap: CascadeSnapshot) -> dict[str, int]:
    return {step.name: step.initial for step in snap.steps}


def _last(snap: CascadeSnapshot) -> dict[str, int]:
    return dict(snap.weights) if snap.weights is not None else _initial(snap)


def _order(snap: CascadeSnapshot) -> tuple[str, ...]:
    return tuple(step.name for step in snap.steps)


def _names(snap: CascadeSnapshot) -> frozenset[str]:
    return frozenset(_order(snap))


def _after(snap: CascadeSnapshot, donor: Step) -> tuple[Step, ...]:
    """The tiers that inherit from a donor: the next ones first, then around to the cheaper ones."""
    at = snap.steps.index(donor)
    return (*snap.steps[at + 1 :], *snap.steps[:at])
