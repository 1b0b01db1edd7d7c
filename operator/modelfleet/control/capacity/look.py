"""From objects, pods and measured load to the planner's look at each group of Cascades: observes, decides nothing.

A number that is missing, stale, or that a ready router did not contribute to makes the look incomplete: the planner
holds then, whatever else is known.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import Manifest, seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.capacity.observe import Observed, Pods, epoch_s, wanted_replicas
from modelfleet.control.capacity.readings import STALE_AFTER_S
from modelfleet.control.ports import Key, View
from modelfleet.diff.pods import pod_ready
from modelfleet.plan import demand
from modelfleet.plan.behavior import behavior
from modelfleet.plan.group import Group
from modelfleet.plan.learned import Learned, Shown, Start
from modelfleet.plan.load import INTERVAL_S, Answers, CascadeLoad, TierLoad
from modelfleet.plan.look import TierFacts, tier_looks
from modelfleet.plan.planner import Look
from modelfleet.plan.prices import replica_hour_usd
from modelfleet.plan.profiles import engine_of
from modelfleet.plan.sizing import Objectives
from modelfleet.plan.snapshot import FleetSnapshot, Name
from modelfleet.plan.starts import start

_NO_LOAD = CascadeLoad(arrived=0.0, answers=Answers(0.0), failed=0.0)


@dataclass(frozen=True, slots=True)
class Starting:
    """Pods of all tiers: for how long each has been starting, and how long those that answer took, the newest last."""

    starting_s: Mapping[Name, Sequence[float]] = field(default_factory=dict)
    started: Mapping[Name, Sequence[Start]] = field(default_factory=dict)


def starting(view: View, tiers: Mapping[Name, ModelTier], *, now_s: float) -> Starting:
    """Look at every pod once."""
    owners = {(name.namespace, names.tier_child(name.name)): name for name in tiers}
    ages: dict[Name, list[float]] = defaultdict(list)
    done: dict[Name, list[tuple[str, Start]]] = defaultdict(list)
    for pod in view.list("Pod"):
        meta = pod["metadata"]
        child = (meta.get("labels") or {}).get(names.LABEL_TIER)
        owner = owners.get((meta.get("namespace", ""), child)) if child else None
        if owner is None or meta.get("deletionTimestamp") or _ended(pod):
            continue
        if not pod_ready(pod):
            ages[owner].append(max(0.0, now_s - epoch_s(meta.get("creationTimestamp"))))
        elif (found := start(pod)) is not None:
            done[owner].append((meta.get("creationTimestamp", ""), found))
    by_age = {
        owner: [found for _, found in sorted(pods, key=lambda pod: pod[0])] for owner, pods in done.items()
    }
    return Starting(ages, by_age)


def _ended(pod: Manifest) -> bool:
    # An evicted pod stays in the cluster until somebody clears it away, and another has taken its place.
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


@dataclass(frozen=True, slots=True)
class Sight:
    """All that looks are made from."""

    seen: Observed
    fleet: FleetSnapshot
    view: View
    pods: Pods
    starting: Starting
    settings: FleetSettings
    look_s: float

    def load(self, tier: Name) -> TierLoad:
        return self.seen.load.tiers.get(tier, TierLoad())

    def routers(self, routers: Sequence[tuple[str, str]]) -> int:
        """Ready pods of these routers."""
        return sum(len(self.pods.of_router(*router)) for router in routers)

    def fresh(self, load: TierLoad | CascadeLoad, routers: Sequence[tuple[str, str]]) -> bool:
        """Whether each of these routers has contributed to the numbers lately."""
        expected = self.routers(routers)
        age_s = math.inf if load.age_s is None else load.age_s + self.seen.now_s - self.seen.load_taken_s
        return load.routers >= expected > 0 and 0 <= age_s <= STALE_AFTER_S


def look_at(group: Group, sight: Sight, learned: Learned) -> Look:
    """One group."""
    cascades = {name: sight.seen.cascades[name] for name in group.cascades}
    served = {name for name, cascade in cascades.items() if sight.routers([_router(name, cascade)])}
    # No request comes in by a router that has no pod; where none of them has one, nobody knows anything.
    loads = {
        name: sight.seen.load.cascades.get(name, CascadeLoad()) if name in served or not served else _NO_LOAD
        for name in cascades
    }
    answers_back = sight.seen.source == "Answers"
    gauges = answers_back and all(
        sight.fresh(sight.load(tier), routers) or (served and not sight.routers(routers))
        for tier in group.tiers
        for routers in [_routers(tier, cascades)]
    )
    complete = gauges and all(
        load is _NO_LOAD or (load.arrived is not None and sight.fresh(load, [_router(name, cascades[name])]))
        for name, load in loads.items()
    )
    goals = demand.goals(cascades.values())
    kept = [
        load.kept(ttft_s=demand.given(goals.ttft_s), itl_s=demand.given(goals.itl_s))
        for load in loads.values()
        if load is not _NO_LOAD
    ]
    shares = demand.shares(cascades, loads, sight.seen.tiers)
    dollars = [replica_hour_usd(sight.seen.tiers[tier], sight.settings) for tier in group.tiers]
    priced = all(one is not None for one in dollars) and any(dollars)
    facts = [
        _facts(tier, sight, learned, share=shares.get(tier, 0.0), goals=goals, usd=usd if priced else None)
        for tier, usd in zip(group.tiers, dollars, strict=True)
    ]
    return Look(
        now_s=sight.seen.now_s,
        look_s=sight.look_s,
        since_s=max(1.0, sight.seen.load.since_s),
        complete=complete and all(one is not None for one in kept),
        arrived=sum(load.arrived or 0.0 for load in loads.values()),
        counts=demand.added([load.counts for load in loads.values()]),
        interval_s=INTERVAL_S,
        # An error that a client saw kept nothing.
        answers=sum(one.answers for one in kept if one) + sum(load.failed or 0.0 for load in loads.values()),
        good=sum(one.good for one in kept if one),
        goals=goals,
        tiers=tier_looks(facts, look_s=sight.look_s),
        gauges=gauges,
    )


def shown_by(load: TierLoad, past: Shown) -> Shown:
    """What a tier's own answers are like: lately, or when there were some last."""
    return Shown(
        past.prompt_tokens if load.prompt_tokens is None else load.prompt_tokens,
        past.output_tokens if load.output_tokens is None else load.output_tokens,
        past.answer_s if load.answer_s is None else load.answer_s,
    )


def _facts(
    name: Name, sight: Sight, learned: Learned, *, share: float, goals: Objectives, usd: float | None
) -> TierFacts:
    tier, load, snap = sight.seen.tiers[name], sight.load(name), sight.fleet.tiers.get(name)
    child = Key("Deployment", name.namespace, names.tier_child(name.name))
    wanted = snap.replicas if snap is not None else wanted_replicas(tier, sight.view.get(child))
    # Whoever pins or pauses a tier has decided for it, and the others make up for that.
    by_hand = snap is not None and (snap.pinned is not None or bool(snap.paused))
    planned = snap is not None and not snap.targets and snap.replicas > 0 and not by_hand
    scaling = tier.spec.scaling
    shown = shown_by(load, learned.shown.get(name.name, Shown()))
    ages = sight.starting.starting_s.get(name, ())
    ready = len(sight.pods.of_tier(name))
    # What a Deployment has not created yet is as new as can be.
    missing = max(0, wanted - ready - len(ages))
    kept = load.answers and load.answers.kept(
        ttft_s=demand.given(goals.ttft_s), itl_s=demand.given(goals.itl_s)
    )
    return TierFacts(
        name=name.name,
        engine=engine_of(tier, sight.settings),
        slots=tier.slots or 0,
        # Where one of the group has no price, or all are free, they are compared by what they take of their pools.
        price=_units(tier) if usd is None else usd,
        share=share,
        wanted=wanted,
        ready=ready,
        starting_s=(*ages, *(0.0 for _ in range(missing))),
        replicas_min=snap.replicas_min if planned and snap is not None else wanted,
        replicas_max=snap.replicas_max if planned and snap is not None else wanted,
        cold_starts_s=[one.total_s for one in learned.starts.get(name.name, ())],
        cold_start_s=_told_start_s(tier, sight.settings),
        rate_rps=load.rate_rps or 0.0,
        prompt_tokens=shown.prompt_tokens,
        output_tokens=shown.output_tokens,
        cached_tokens=(load.cached_share or 0.0) * (load.prompt_tokens or 0.0),
        answer_s=shown.answer_s,
        itl_s=load.itl.mean if load.itl is not None else None,
        waiting=(load.waiting_router or 0.0) + (load.waiting_engines or 0.0),
        kv=() if load.kv_used is None else (load.kv_used,),
        down_s=behavior(scaling.behavior).down.window_s if scaling is not None else None,
        answers=kept.answers if kept else 0.0,
        good=kept.good if kept else 0.0,
    )


def _routers(tier: Name, cascades: Mapping[Name, Cascade]) -> list[tuple[str, str]]:
    """Those that send requests to a tier: no others have anything to tell of it."""
    return sorted(
        {
            _router(name, cascade)
            for name, cascade in cascades.items()
            if any(step.tier_ref.name == tier.name for step in cascade.spec.tiers)
        }
    )


def _router(name: Name, cascade: Cascade) -> tuple[str, str]:
    return name.namespace, names.router(name.name if cascade.spec.router.dedicated else None)


def _units(tier: ModelTier) -> int:
    return tier.spec.node_pool.count if tier.spec.node_pool is not None else 1


def _told_start_s(tier: ModelTier, settings: FleetSettings) -> float:
    """How long a replica takes to answer, as people say."""
    scaling = tier.spec.scaling
    told = settings.profiles.get(scaling.profile) if scaling is not None and scaling.profile else None
    return seconds(told.cold_start if told is not None and told.cold_start else settings.capacity.cold_start)
