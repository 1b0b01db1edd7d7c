"""The project's own planner (`plan/planner.py`) on what the simulated fleet shows: translation, and no decision."""

from collections.abc import Sequence
from dataclasses import replace

from modelfleet.plan import planner
from modelfleet.plan.look import TierFacts, tier_looks
from modelfleet.plan.planner import Look, Settings, State, TierLook
from modelfleet.plan.sizing import Objectives, capacity
from modelfleet.sim.fleet import Slo
from modelfleet.sim.policy import Orders, Policy, Published, Seen, TierSeen

_LENGTHS_S = 600.0
_UNEVEN_S = 600.0
_STEPS_S = 60.0  # over which a step time is taken


class Joint:
    """The whole cascade at once: pooled peaks, each tier's own share, and a router that moves within a second.

    Ablations: `fast` False leaves the router out, `settings.pooled` False sizes every tier for its own peak.
    """

    look_s = 15.0

    def __init__(self, settings: Settings | None = None, *, fast: bool = True) -> None:
        self._settings = settings or Settings()
        self.name = f"joint-{self._settings.peak:g}-{self._settings.deviations:g}"
        self._fast = fast
        self._state = State()
        self._last_s = 0.0

    def decide(self, seen: Seen) -> Orders:
        target = seen.cascade.share_floor
        tiers = [tier for tier in seen.tiers if not tier.tier.external]
        shares = planned_shares(seen)
        facts = [
            facts_of(tier, share, seen.cascade.slo)
            for tier, share in zip(seen.tiers, shares, strict=True)
            if not tier.tier.external
        ]
        looks = tier_looks(facts, look_s=self.look_s)
        # Where answers are judged, their scores move requests, and no router does.
        settings = replace(self._settings, pooled=False) if seen.cascade.thresholds else self._settings
        found, self._state = planner.plan(self._look(seen, looks, tiers), self._state, settings)
        if seen.lost:
            return Orders({})
        self._last_s = seen.now_s
        replicas = {tier.tier.name: one.replicas for tier, one in zip(tiers, found.tiers, strict=True)}
        if (
            not self._fast
            or len(seen.tiers) == 1
            or len(tiers) < len(seen.tiers)
            or not found.tiers[0].carries_rps
        ):
            return Orders(replicas)
        carries = [one.carries_rps for one in found.tiers]
        return Orders(replicas, published=Published(target, carries, [one.under_way for one in found.tiers]))

    def _look(self, seen: Seen, looks: Sequence[TierLook], tiers: Sequence[TierSeen]) -> Look:
        windows = [tier.window(self.look_s) for tier in tiers]
        entered = tiers[:1] if seen.cascade.thresholds else tiers
        columns = zip(*(tier.window(_UNEVEN_S).counts for tier in entered), strict=True)
        return Look(
            now_s=seen.now_s,
            look_s=self.look_s,
            since_s=max(self.look_s, seen.now_s - self._last_s),
            complete=not seen.lost,
            arrived=seen.entered,
            counts=[sum(column) for column in columns],
            interval_s=tiers[0].meter.scrape_s,
            answers=sum(window.answers for window in windows),
            good=sum(window.good for window in windows),
            goals=Objectives(seen.cascade.slo.ttft_s, seen.cascade.slo.itl_s),
            tiers=looks,
        )


class Lead:
    """The same planner for every tier alone, on the traffic that was routed to it."""

    look_s = 15.0

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self.name = f"lead-{self._settings.peak:g}-{self._settings.deviations:g}"
        self._states: dict[str, State] = {}

    def decide(self, seen: Seen) -> Orders:
        if seen.lost:
            return Orders({})
        return Orders(
            {tier.tier.name: self._one(tier, seen) for tier in seen.tiers if not tier.tier.external}
        )

    def _one(self, tier: TierSeen, seen: Seen) -> int:
        window = tier.window(self.look_s)
        look = Look(
            now_s=seen.now_s,
            look_s=self.look_s,
            since_s=self.look_s,
            complete=True,
            arrived=window.arrivals,
            counts=tier.window(_UNEVEN_S).counts,
            interval_s=tier.meter.scrape_s,
            answers=window.answers,
            good=window.good,
            goals=Objectives(seen.cascade.slo.ttft_s, seen.cascade.slo.itl_s),
            tiers=tier_looks([facts_of(tier, 1.0, seen.cascade.slo)], look_s=self.look_s),
        )
        name = tier.tier.name
        found, self._states[name] = planner.plan(look, self._states.get(name, State()), self._settings)
        return found.tiers[0].replicas


class Relieved:
    """Any scaler, with our router before it: what its tiers see is what the router has just moved."""

    def __init__(self, policy: Policy) -> None:
        self.name, self.look_s, self._policy = f"{policy.name}+router", policy.look_s, policy

    def decide(self, seen: Seen) -> Orders:
        orders = self._policy.decide(seen)
        goals = Objectives(seen.cascade.slo.ttft_s, seen.cascade.slo.itl_s)
        half = replace(goals, itl_s=goals.itl_s / 2)  # beyond it too many miss, whatever the mean says
        carries, under_way = [], []
        for tier in seen.tiers:
            (look,) = tier_looks([facts_of(tier, 1.0, seen.cascade.slo)], look_s=self.look_s)
            if look.lengths is None or tier.tier.external:
                return orders
            carries.append(capacity(tier.tier.engine, look.lengths, half).rate_rps)
            under_way.append(carries[-1] * look.lengths.output * half.itl_s)
        return replace(orders, published=Published(seen.cascade.share_floor, carries, under_way))


def planned_shares(seen: Seen) -> Sequence[float]:
    """The last tier's floor, and the rest in equal parts: the router moves requests between those anyway.

    Where answers are judged: what part of all that enter came to each tier lately.
    """
    if seen.cascade.thresholds:
        came = [tier.window(_LENGTHS_S).arrivals for tier in seen.tiers]
        return tuple(one / came[0] for one in came) if came[0] else (1.0,) * len(came)
    before, floor = len(seen.tiers) - 1, seen.cascade.share_floor
    return (*((1 - floor) / before for _ in range(before)), floor) if before else (1.0,)


def facts_of(tier: TierSeen, share: float, slo: Slo) -> TierFacts:
    """One tier as the simulated fleet shows it."""
    lately, steps = tier.window(_LENGTHS_S), tier.window(_STEPS_S)
    answers, good = tier.window(Joint.look_s).itl_kept(slo.itl_s)
    return TierFacts(
        name=tier.tier.name,
        engine=tier.tier.engine,
        slots=tier.tier.engine.sequences_max,
        price=tier.tier.usd_per_replica_hour or tier.tier.gpus,
        share=share,
        wanted=tier.wanted,
        ready=tier.ready,
        starting_s=(0.0,) * tier.starting,
        replicas_min=tier.tier.replicas_min,
        replicas_max=tier.tier.replicas_max,
        cold_starts_s=tier.cold_starts_s,
        cold_start_s=tier.tier.cold.median_s,
        rate_rps=steps.rate_rps,
        prompt_tokens=lately.prompt_tokens_mean,
        output_tokens=lately.output_tokens_mean,
        cached_tokens=lately.cached_tokens_mean,
        itl_s=steps.itl_mean_s,
        waiting=tier.engine_queue + tier.router_queue,
        kv=tier.kv,
        answers=answers,
        good=good,
    )
