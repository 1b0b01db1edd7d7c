"""From the watches' view and the metrics store's numbers to the planner's snapshot: observes, decides nothing."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.cascade import Cascade, initial_weights, unpriced
from modelfleet.api.meta import Condition, Manifest, seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.capacity import controls
from modelfleet.control.capacity.bars import bars
from modelfleet.control.capacity.idle import Heard, Listener, routers_of
from modelfleet.control.capacity.memory import CascadeMemory, Memory, TierMemory, weights_spec
from modelfleet.control.capacity.readings import STALE_AFTER_S, Expected, Readings, queue_target
from modelfleet.control.ports import Key, View
from modelfleet.plan import publish
from modelfleet.plan.asked import Answer
from modelfleet.plan.behavior import behavior
from modelfleet.plan.load import CascadeLoad, FleetLoad, TierLoad
from modelfleet.plan.snapshot import (
    CascadeSnapshot,
    FleetSnapshot,
    Name,
    Pause,
    Pool,
    Sleep,
    Source,
    Step,
    TierSnapshot,
    Wish,
)

MEASURED_AFTER_S = 60.0  # the window of TTFT
SETTLED_AFTER_S = 5.0  # from a pod's readiness until every router has its address, with room to spare
_PERMILLE = 10  # per percentage point
_NO_STATS = ("--disable-log-stats", "--disable-log-stats=true")  # a vLLM that counts nothing


@dataclass(frozen=True, slots=True)
class Observed:
    """The objects and numbers that one pass looks at."""

    now_s: float
    tiers: Mapping[Name, ModelTier]
    cascades: Mapping[Name, Cascade]
    load: FleetLoad
    load_taken_s: float
    source: Source
    heard: Heard = field(default_factory=Heard)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)  # by query of a user
    engines_must_tell: bool = True  # else it is no surprise that none of a tier does


class Pods:
    """Ready times of the pods of tiers and routers, indexed once per pass."""

    def __init__(self, view: View) -> None:
        self._ready_since: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for pod in view.list("Pod"):
            since = ready_since_s(pod)
            labels = pod["metadata"].get("labels") or {}
            for label in (names.LABEL_TIER, names.LABEL_ROUTER):
                if since is not None and label in labels:
                    self._ready_since[label, pod["metadata"].get("namespace", ""), labels[label]].append(
                        since
                    )

    def of_tier(self, name: Name) -> Sequence[float]:
        """When each ready pod of a tier became ready, seconds since the epoch."""
        return self._ready_since.get((names.LABEL_TIER, name.namespace, names.tier_child(name.name)), ())

    def of_router(self, namespace: str, router: str) -> Sequence[float]:
        """The same of a router."""
        return self._ready_since.get((names.LABEL_ROUTER, namespace, router), ())


def ready_since_s(pod: Manifest) -> float | None:
    """Since when a pod answers; None while it does not, or is on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return epoch_s(condition.get("lastTransitionTime"))
    return None


def epoch_s(timestamp: str | None) -> float:
    """Seconds since the epoch of an RFC 3339 timestamp; 0, which is long ago, for none."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def snapshot(seen: Observed, view: View, memory: Memory) -> FleetSnapshot:
    """The planner's picture.  Adds to memory what it lacks about objects seen for the first time."""
    pods = Pods(view)
    routers = routers_of(seen.cascades)
    expected = Expected(
        routers=lambda tier: sum(
            len(pods.of_router(tier.namespace, router)) for router in routers.get(tier, ())
        ),
        replicas=lambda tier: len(pods.of_tier(tier)),
    )
    readings = Readings(seen.load, expected, taken_ago_s=seen.now_s - seen.load_taken_s, answers=seen.answers)
    listener = Listener(view, seen.cascades, seen.heard)
    return FleetSnapshot(
        now_s=seen.now_s,
        tiers={
            name: _tier(
                name,
                tier,
                seen=seen,
                view=view,
                pods=pods,
                readings=readings,
                routed=name in routers,
                listener=listener,
                memory=memory,
            )
            for name, tier in seen.tiers.items()
            if tier.scalable
        },
        cascades={
            name: _cascade(name, cascade, seen=seen, pods=pods, readings=readings, memory=memory)
            for name, cascade in seen.cascades.items()
        },
        pools=seen.pools,
    )


def _tier(
    name: Name,
    tier: ModelTier,
    *,
    seen: Observed,
    view: View,
    pods: Pods,
    readings: Readings,
    routed: bool,
    listener: Listener,
    memory: Memory,
) -> TierSnapshot:
    scaling = tier.spec.scaling
    assert scaling is not None, "only tiers that scale are asked about"
    replicas = wanted_replicas(tier, view.get(Key("Deployment", name.namespace, names.tier_child(name.name))))
    past = memory.tiers.setdefault(name, TierMemory(wishes=(Wish(seen.now_s, replicas),)))
    ready = pods.of_tier(name)
    clock = controls.schedules(scaling, seen.now_s)
    paused: Pause = "Suspended" if tier.spec.suspend else "Paused" if tier.metadata.paused else ""
    return TierSnapshot(
        replicas=replicas,
        replicas_ready=len(ready),
        replicas_measured=sum(since <= seen.now_s - MEASURED_AFTER_S for since in ready),
        replicas_min=max(1, scaling.min_replicas, clock.replicas),
        replicas_max=scaling.max_replicas,
        slots=tier.slots or 1,
        targets=tuple(readings.target(name, metric) for metric in scaling.metrics),
        in_flight=readings.in_flight(name),
        engines_silent=readings.engines_silent(name, must_tell=seen.engines_must_tell and _tells(tier)),
        behavior=behavior(scaling.behavior),
        stale_after_s=STALE_AFTER_S,
        sleep=_sleep(name, tier, now_s=seen.now_s, ready=ready, listener=listener, past=past),
        routed=routed,
        source=seen.source,
        measured_by=seen.load.tiers.get(name, TierLoad()).source,
        paused=paused,
        pinned=pins.replicas(tier.metadata.annotations).replicas,
        observe=scaling.mode == "Observe",
        scheduled=clock.replicas,
        blind_for_s=0.0 if past.lost_since_s is None else seen.now_s - past.lost_since_s,
        fallback=controls.fallback(scaling),
        pool=tier.spec.node_pool.name if tier.spec.node_pool else "",
        pool_units=tier.spec.node_pool.count if tier.spec.node_pool else 1,
        wishes=past.wishes,
        changes=past.changes,
    )


def _tells(tier: ModelTier) -> bool:
    """Whether its engines have a page with what waits in them.  What somebody else runs we know too little of."""
    args = tier.spec.vllm.args if tier.spec.vllm is not None else []
    return tier.spec.existing is None and not any(arg.replace("_", "-") in _NO_STATS for arg in args)


def _sleep(
    name: Name, tier: ModelTier, *, now_s: float, ready: Sequence[float], listener: Listener, past: TierMemory
) -> Sleep | None:
    idle = tier.spec.scaling.idle if tier.spec.scaling else None
    if idle is None:
        return None
    last = tier.status.last_scale
    grew = last is not None and last.to_replicas > last.from_replicas
    quiet_s = listener.quiet_s(name)
    if quiet_s is not None:
        past.asked_s = max(past.asked_s, listener.heard.at_s - quiet_s)
        quiet_s = min(quiet_s, now_s - past.asked_s)
    awake_s = now_s - epoch_s(last.time) if last and grew else math.inf
    return Sleep(
        after_s=seconds(idle.after),
        quiet_s=quiet_s,
        awake_s=awake_s,
        wanted=listener.wanted(name),
        # Woken in the moment it fell asleep, its last replica may be on its way out and look ready still.
        answers=awake_s >= SETTLED_AFTER_S and any(since <= now_s - SETTLED_AFTER_S for since in ready),
    )


def wanted_replicas(tier: ModelTier, deployment: Manifest | None) -> int:
    """The last decision; where there is none, what runs, never the minimum."""
    found, scaling, decided = tier.status.existing, tier.spec.scaling, tier.status.desired_replicas
    observing = scaling is not None and scaling.mode == "Observe"  # then somebody else decides
    if tier.spec.existing is not None and (observing or decided is None):
        asked_for = found.replicas if found is not None else None
        return asked_for if asked_for is not None else tier.status.replicas or 0
    if decided is not None:
        return decided
    runs: int = ((deployment or {}).get("spec") or {}).get("replicas") or 0
    at_least = tier.spec.scaling.min_replicas if tier.spec.scaling else 0
    return runs or max(at_least, tier.spec.replicas)


def _cascade(
    name: Name, cascade: Cascade, *, seen: Observed, pods: Pods, readings: Readings, memory: Memory
) -> CascadeSnapshot:
    spec = cascade.spec
    planned = publish.weights(cascade)
    initial = planned or initial_weights(spec)
    last = last_weights(cascade)
    past = memory.cascades.get(name)
    if past is None:
        past = memory.cascades[name] = _recalled(cascade, last, initial)
    steps = []
    for step in spec.tiers:
        tier_name = Name(name.namespace, step.tier_ref.name)
        tier = seen.tiers.get(tier_name)
        if tier is not None and unpriced(spec, tier):
            tier = None  # it gets no requests of this cascade, so it must get no weight either
        ready, since_s = _readiness(tier, pods.of_tier(tier_name))
        low, high = (step.weight.min, step.weight.max) if step.weight else (0, 100)
        steps.append(
            Step(
                name=step.name,
                initial=initial[step.name],
                weight_min=low * _PERMILLE,
                weight_max=high * _PERMILLE,
                ready=ready,
                ready_for_s=max(0.0, seen.now_s - since_s) if ready else 0.0,
                slots=tier.slots if tier else 1,
                queue_target=queue_target(tier),
                in_flight=readings.in_flight(tier_name),
                cold=tier is not None and tier.cold,
            )
        )
    interval_s = seconds(spec.weights.interval)
    return CascadeSnapshot(
        mode=spec.weights.mode,
        step_max=spec.weights.max_step * _PERMILLE,
        hold_s=interval_s,
        steps=tuple(steps),
        weights=last,
        stale_after_s=STALE_AFTER_S,
        out=past.out,
        step_due=seen.source == "Answers" and seen.now_s - past.stepped_at_s >= interval_s,
        respecified=past.weights_spec != weights_spec(cascade),
        paused=cascade.metadata.paused,
        planned=planned is not None,
        pinned=pins.weights(cascade.metadata.annotations, tiers=[step.name for step in spec.tiers]).weights,
        bars=bars(cascade, None if cascade.metadata.paused else _fresh(name, cascade, seen, pods)),
        escalations_max=spec.limits.max_escalations,
    )


def _fresh(name: Name, cascade: Cascade, seen: Observed, pods: Pods) -> CascadeLoad | None:
    """What was measured of the Cascade, when it is fresh and all its ready routers contributed."""
    load = seen.load.cascades.get(name)
    if seen.source != "Answers" or load is None or load.age_s is None:
        return None
    router = names.router(name.name if cascade.spec.router.dedicated else None)
    complete = load.routers >= len(pods.of_router(name.namespace, router)) > 0
    age_s = load.age_s + seen.now_s - seen.load_taken_s
    return load if complete and 0 <= age_s <= STALE_AFTER_S else None


def last_weights(cascade: Cascade) -> dict[str, int] | None:
    """The weights in status, when they are a decision about exactly the tiers of the spec."""
    decided = {tier.name: tier.weight for tier in cascade.status.tiers if tier.weight is not None}
    if [tier.name for tier in cascade.spec.tiers if tier.name in decided] != [
        t.name for t in cascade.spec.tiers
    ]:
        return None
    weights = {tier.name: decided[tier.name] for tier in cascade.spec.tiers}
    return weights if sum(weights.values()) == 1000 else None  # noqa: PLR2004  permille


def _recalled(cascade: Cascade, last: Mapping[str, int] | None, initial: Mapping[str, int]) -> CascadeMemory:
    """After a restart: tiers without entries that should have some were probably not ready."""
    shown = next((c for c in cascade.status.conditions if c.type == "ShareOnTarget"), None)
    decided_for_this_spec = shown is not None and shown.observed_generation == cascade.metadata.generation
    out = frozenset(name for name, weight in (last or {}).items() if weight == 0 and initial[name] > 0)
    return CascadeMemory(out=out, weights_spec=weights_spec(cascade) if decided_for_this_spec else ())


def _readiness(tier: ModelTier | None, ready_since: Sequence[float]) -> tuple[int, float]:
    """Replicas that answer, and since when at least one does."""
    if tier is None or tier.spec.suspend or not tier.found:
        return 0, 0.0
    if tier.spec.external is not None:
        said = _condition(tier.status.conditions, "Ready")
        works = said is None or said.status != "False"
        return int(works), epoch_s(said.last_transition_time if said else None)
    return len(ready_since), min(ready_since, default=0.0)


def _condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)
