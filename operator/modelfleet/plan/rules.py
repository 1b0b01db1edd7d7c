"""How many replicas, and why: ordered rules, the first with an opinion wins.

A new policy is a new function and one line in RULES.  No rule shrinks a tier on data that is missing, stale or
partial; only a change of the user's own bounds does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from modelfleet import names
from modelfleet.plan.scale import Proposal, limit, lowest_wish, propose, stabilize
from modelfleet.plan.snapshot import Idle, Target, TierSnapshot, usable


@dataclass(frozen=True, slots=True)
class Verdict:
    """Wanted replicas.  `wish` is what the load alone asks for: what later ticks stabilize on."""

    replicas: int
    reason: str  # CamelCase; the same word in condition, event, metric label and log
    message: str  # for people; unchanged while the cause is unchanged
    wish: int
    active: bool = True  # whether the tier is scaled on data at all (condition ScalingActive)
    instead: "Verdict | None" = None  # what would have been decided, were it not for mode Observe
    unread: tuple[
        str, ...
    ] = ()  # metrics without a value, where others decided; with the reason where there is one


Rule = Callable[[TierSnapshot, float], Verdict | None]


def hold_when_paused(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    if snap.paused == "Suspended":
        return _hold(snap, "Suspended", "spec.suspend is true; scaling goes on when it is false again")
    if snap.paused:
        return _hold(snap, "Paused", "The tier is paused by annotation")
    return None


def hold_when_pinned(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # Break-glass: somebody knows better now, so neither load nor bounds have a say.
    if snap.pinned is None:
        return None
    message = f"Annotation {names.ANNOTATION_PIN_REPLICAS} decides about replicas"
    return Verdict(snap.pinned, "Pinned", message, snap.pinned, active=False)


def keep_schedule(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # It wakes a tier that sleeps, too: to be ready at eight is what a schedule is for.
    if snap.replicas >= snap.scheduled:
        return None
    return Verdict(
        snap.scheduled, "Scheduled", "A schedule asks for at least so many replicas now", snap.scheduled
    )


def sleep_until_wanted(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # At zero no metric tells anything: only a request that waits does.
    if snap.sleep is None or snap.replicas > 0:
        return None
    if snap.sleep.wanted:
        return Verdict(1, "WokenUp", "Requests wait for the first replica", 1)
    if any(_asked(snap)):
        return Verdict(1, "WokenUp", "A query of spec.scaling gives work for the first replica", 1)
    return Verdict(0, "Idle", _ASLEEP, 0)


def sleep_when_quiet(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # Whoever is woken stays for as long, so calling for a tier that nobody uses does not make it come and go.
    sleep = snap.sleep
    if (
        snap.scheduled
        or sleep is None
        or sleep.wanted
        or sleep.quiet_s is None
        or snap.behavior.down.select == "Disabled"
    ):
        return None
    in_flight = usable(snap.in_flight, stale_after_s=snap.stale_after_s)
    # What a query cannot tell may be work that comes by another way than the routers.
    asked = any(amount is None or amount > 0 for amount in _asked(snap))
    if min(sleep.quiet_s, sleep.awake_s) < sleep.after_s or in_flight or asked:
        return None
    return Verdict(0, "Idle", _ASLEEP, 0)


_ASLEEP = "No router has had a request for as long as scaling.idle.after; the next one wakes the tier"


def keep_bounds(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # The user's bounds need no data and know no rate limit, as in HPA v2.
    if snap.replicas < snap.replicas_min:
        return Verdict(
            snap.replicas_min, "BelowMinimum", "Fewer replicas than minReplicas", snap.replicas_min
        )
    if snap.replicas > snap.replicas_max:
        return Verdict(snap.replicas_max, "AboveMaximum", "More replicas than maxReplicas", snap.replicas_max)
    return None


def hold_when_unrouted(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    if not snap.routed:
        return _hold(snap, "NotRouted", "No Cascade sends requests to this tier, holding")
    return None


def follow_plan(snap: TierSnapshot, now_s: float) -> Verdict | None:
    # A user who writes metrics gets them, and nothing cleverer.
    if snap.targets:
        return None
    if snap.unplanned is not None:
        return _hold(snap, snap.unplanned.reason, snap.unplanned.message)
    plan = snap.planned
    if plan is None:
        return _hold(snap, "NoOpinion", "It is planned at the next look")
    active = plan.reason not in _PLANNED_BLINDLY
    if plan.replicas == snap.replicas:
        return Verdict(snap.replicas, plan.reason, plan.message, plan.replicas, active=active)
    return _towards(plan.replicas, snap, now_s, cause=plan.reason, message=plan.message)


def _towards(wish: int, snap: TierSnapshot, now_s: float, *, cause: str, message: str) -> Verdict:
    """From what the plan has for a tier to what this tick may do."""
    if wish < snap.replicas and snap.engines_silent and cause not in _BOUNDS:
        # The plan has taken the fullest replica and what waits from those that tell.
        unread = (f"queue and KV cache of {snap.engines_silent} replicas",)
        text = f"No fresh and complete value of {unread[0]}; not shrinking"
        return Verdict(snap.replicas, "MetricsPartlyStale", text, snap.replicas, unread=unread)
    # How long a smaller load must last, the plan has waited for already.
    rising = lowest_wish(wish, snap, now_s)
    replicas = limit(rising, snap, now_s)
    if replicas == snap.replicas:
        held = "RateLimit" if rising > snap.replicas or wish < snap.replicas else "StabilizationWindow"
        return Verdict(replicas, held, _MESSAGES[held], wish)
    return Verdict(replicas, cause, message, wish)


# What the user's money and bounds allow needs no data.
_BOUNDS = frozenset({"AboveBudget", "AboveMaximum"})
_PLANNED_BLINDLY = frozenset({"MetricsStale", "NoAnswers", "Infeasible"})


def hold_when_blind(snap: TierSnapshot, now_s: float) -> Verdict | None:  # noqa: ARG001  one shape for all rules
    # No data is not low load: scaling down in a metrics outage would drop live traffic.
    if snap.source == "Silent":
        return _hold(snap, "MetricsStale", "Neither Prometheus nor the routers answer, holding")
    blind = _blind(snap)
    if blind and len(blind) == len(snap.targets):
        return _hold(snap, "MetricsStale", f"No fresh and complete value of {', '.join(blind)}; holding")
    return None


def rest_when_idle(snap: TierSnapshot, now_s: float) -> Verdict | None:
    # A latency has no value without requests: then only a fresh zero of all routers proves that the load is zero.
    if _proposals(snap):
        return None
    idle = usable(snap.in_flight, stale_after_s=snap.stale_after_s) == 0
    if idle and not _blind(snap):
        return _settle(snap, now_s, wish=snap.replicas_min, cause="Idle")
    return Verdict(
        snap.replicas, "NoOpinion", "No request has finished its first token lately", snap.replicas
    )


def follow_load(snap: TierSnapshot, now_s: float) -> Verdict | None:
    best = max(_proposals(snap), key=lambda proposal: proposal.replicas)
    wish = min(max(best.replicas, snap.replicas_min), snap.replicas_max)
    blind = _blind(snap)
    if blind and wish <= snap.replicas:
        # What one metric cannot see may be the reason to have these replicas.
        message = f"No fresh and complete value of {', '.join(blind)}; not shrinking"
        return Verdict(snap.replicas, "MetricsPartlyStale", message, snap.replicas, unread=tuple(blind))
    if best.replicas > snap.replicas_max == snap.replicas:
        return Verdict(snap.replicas, "AtMaximum", "The load asks for more than maxReplicas", wish)
    cause = f"{best.metric}AboveTarget" if wish > snap.replicas else "BelowTarget"
    return replace(_settle(snap, now_s, wish=wish, cause=cause), unread=tuple(blind))


RULES: tuple[Rule, ...] = (
    hold_when_paused,  # first: nothing would be applied
    hold_when_pinned,  # before the bounds and the sleep
    keep_schedule,
    sleep_until_wanted,
    keep_bounds,
    sleep_when_quiet,  # before what needs metrics: routers say it themselves
    hold_when_unrouted,
    follow_plan,  # of tiers without metrics of their own; it holds by itself when it is blind
    hold_when_blind,  # before anything that reads a number
    rest_when_idle,
    follow_load,  # last: always answers
)


def decide(snap: TierSnapshot, now_s: float) -> Verdict:
    """The first rule with an opinion wins.  `now_s` is in the clock of the snapshot's wishes and changes."""
    for rule in RULES:
        if verdict := rule(snap, now_s):
            return verdict
    raise AssertionError("follow_load always answers")


def _settle(snap: TierSnapshot, now_s: float, *, wish: int, cause: str) -> Verdict:
    """From what the load asks for to what this tick may do."""
    if wish == snap.replicas:
        at_floor = cause == "Idle" or snap.replicas == snap.replicas_min
        reason = "AtMinimum" if at_floor else "WithinTolerance"
        return Verdict(snap.replicas, reason, _MESSAGES[reason], wish)
    stable = stabilize(wish, snap, now_s)
    if stable == snap.replicas:
        return Verdict(snap.replicas, "StabilizationWindow", _MESSAGES["StabilizationWindow"], wish)
    replicas = limit(stable, snap, now_s)
    reason = "RateLimit" if replicas == snap.replicas else cause
    return Verdict(replicas, reason, _MESSAGES[reason], wish)


_MESSAGES = {
    "TTFTAboveTarget": "Time to first token is above its target",
    "ITLAboveTarget": "Time between tokens is above its target",
    "KVCacheAboveTarget": "The KV cache of a replica is fuller than the target",
    "PromQLAboveTarget": "The query gives more per replica than the target",
    "ConcurrencyAboveTarget": "More requests per replica in flight than the target",
    "QueueAboveTarget": "More requests per replica wait than the target",
    "BelowTarget": "Every metric is below its target",
    "Idle": "No requests at all",
    "WithinTolerance": "The load fits the replicas",
    "AtMinimum": "The load fits minReplicas",
    "StabilizationWindow": "Waiting until the load has asked for it throughout stabilizationWindowSeconds",
    "RateLimit": "The policies of behavior allow no further change yet",
}


def _hold(snap: TierSnapshot, reason: str, message: str) -> Verdict:
    return Verdict(snap.replicas, reason, message, snap.replicas, active=False)


def _asked(snap: TierSnapshot) -> list[float | None]:
    """What the user's own queries give; None where it cannot be told."""
    return [
        usable(target.reading, stale_after_s=snap.stale_after_s)
        for target in snap.targets
        if target.type == "PromQL"
    ]


def _proposals(snap: TierSnapshot) -> list[Proposal]:
    values = ((target, usable(target.reading, stale_after_s=snap.stale_after_s)) for target in snap.targets)
    return [propose(target, value, snap) for target, value in values if value is not None]


def _blind(snap: TierSnapshot) -> list[str]:
    return sorted(
        f"{target.name} ({target.problem})" if target.problem else target.name
        for target in snap.targets
        if _is_blind(target, snap.stale_after_s)
    )


def _is_blind(target: Target, stale_after_s: float) -> bool:
    # Idleness is an answer: nothing was there to measure.
    return (
        not isinstance(target.reading, Idle) and usable(target.reading, stale_after_s=stale_after_s) is None
    )
