"""The live loop beside the simulator's planner, on the very same load: they have to order the same."""

import asyncio
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.capacity_plan import GOAL
from modelfleet.control.capacity_status import timestamp
from modelfleet.control.ports import Key
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import INTERVAL_S, MEANS_S, RATE_S, Answers, CascadeLoad, FleetLoad, TierLoad
from modelfleet.plan.planner import Settings
from modelfleet.plan.snapshot import Name
from modelfleet.sim.arrivals import Day, synthetic
from modelfleet.sim.fleet import Conditions
from modelfleet.sim.meter import ITL_BOUNDS_S, TTFT_BOUNDS_S, Window
from modelfleet.sim.policies.ours import Joint
from modelfleet.sim.policy import Orders, Seen, TierSeen
from modelfleet.sim.scenario import read
from modelfleet.sim.world import World
from tests.control.capacity_fleet import Fleet

EXAMPLE = Path(__file__).parents[2] / "examples" / "planned" / "cascade.yaml"
TIERS = {"small": "llama-8b", "big": "llama-70b"}
SECONDS = 2400.0


def buckets(window: Window, what: str) -> Buckets:
    columns = zip(*(getattr(slot, what) for slot in window.slots), strict=True)
    counts = tuple(accumulate(sum(column) for column in columns))
    bounds = TTFT_BOUNDS_S if what == "ttft" else ITL_BOUNDS_S
    total = sum(slot.itl_sum_s for slot in window.slots) if what == "itl" else None
    return Buckets((*bounds, float("inf")), counts, total)


def answers(window: Window) -> Answers:
    return Answers(window.answers, buckets(window, "ttft"), buckets(window, "itl"))


@dataclass
class Live(Fleet):
    """The capacity loop over what the simulated fleet shows."""

    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store.objects.clear()
        for document in yaml.safe_load_all(EXAMPLE.read_text()):
            self.apply(document["kind"], document["metadata"]["name"], document["spec"])
        self.pod("router-0", names.LABEL_ROUTER, names.router())
        self.settings = FleetSettings.model_validate({"capacity": {"coldStart": "2m"}})
        self.loop = self.restarted()

    def ask(self, seen: Seen) -> dict[str, int]:
        self.clock.now = 1_000_000.0 + seen.now_s
        for tier in seen.tiers:
            self.show(TIERS[tier.tier.name], tier)
        self.runner.run(self.look(seen))
        found = {step: self.store.objects[Key("ModelTier", "ns", tier)] for step, tier in TIERS.items()}
        return {step: one["status"]["desiredReplicas"] for step, one in found.items()}

    async def look(self, seen: Seen) -> None:
        windows = [tier.window(INTERVAL_S) for tier in seen.tiers]
        past = zip(*(tier.window(MEANS_S).counts for tier in seen.tiers), strict=True)
        chat = CascadeLoad(
            age_s=0.0,
            routers=1,
            arrived=seen.entered,
            counts=tuple(sum(column) for column in past),
            answers=Answers(
                sum(one.answers for one in windows),
                added([buckets(one, "ttft") for one in windows]),
                added([buckets(one, "itl") for one in windows]),
            ),
            failed=0.0,
        )
        tiers = {Name("ns", TIERS[tier.tier.name]): load(tier) for tier in seen.tiers}
        self.prometheus.answer = FleetLoad(
            tiers=tiers, started={}, answered={}, cascades={Name("ns", "chat"): chat}, since_s=INTERVAL_S
        )
        await self.loop.tick()

    def show(self, name: str, seen: TierSeen) -> None:
        """Its pods, and what was ordered."""
        key = Key("ModelTier", "ns", name)
        status = {**self.store.objects[key].get("status", {}), "desiredReplicas": seen.wanted}
        self.store.put({**self.store.objects[key], "status": status})
        for pod in [key for key in self.store.objects if key.kind == "Pod" and key.name.startswith(name)]:
            del self.store.objects[pod]
        for at in range(seen.ready + seen.starting):
            self.pod(f"{name}-{at}", names.LABEL_TIER, names.tier_child(name), ready=at < seen.ready)
            made = self.store.objects[Key("Pod", "ns", f"{name}-{at}")]
            made["metadata"]["creationTimestamp"] = timestamp(self.clock.now)


def added(several: list[Buckets]) -> Buckets:
    counts = tuple(sum(column) for column in zip(*(one.counts for one in several), strict=True))
    return Buckets(several[0].bounds, counts)


def load(tier: TierSeen) -> TierLoad:
    minute, lately = tier.window(RATE_S), tier.window(MEANS_S)
    return TierLoad(
        in_flight=tier.in_flight,
        age_s=0.0,
        routers=1,
        rate_rps=minute.rate_rps,
        ttft=buckets(minute, "ttft"),
        itl=buckets(minute, "itl"),
        answers=answers(tier.window(INTERVAL_S)),
        prompt_tokens=lately.prompt_tokens_mean,
        output_tokens=lately.output_tokens_mean,
        waiting_router=tier.router_queue,
        waiting_engines=tier.engine_queue,
        kv_used=max(tier.kv, default=0.0),
    )


@dataclass
class Twins:
    """The simulator's planner decides; the live loop is asked beside it."""

    joint: Joint = field(default_factory=lambda: Joint(Settings(goal=GOAL)))
    live: Live = field(default_factory=Live)
    orders: list[tuple[dict[str, int], dict[str, int]]] = field(default_factory=list)
    name: str = "twins"
    look_s: float = INTERVAL_S

    def decide(self, seen: Seen) -> Orders:
        beside = self.live.ask(seen)
        found = self.joint.decide(seen)
        self.orders.append((dict(found.replicas), beside))
        return found


def test_the_live_loop_orders_what_the_simulators_planner_orders():
    documents: list[Any] = [*yaml.safe_load_all(EXAMPLE.read_text())]
    fleet, shares = read(documents, cold_start_s=120.0)
    twins = Twins()
    day = synthetic(Day(mean_rps=60.0), seconds=SECONDS, seed=3)
    World(fleet, day, twins, conditions=Conditions(scrape_s=INTERVAL_S), seed=3, entry=shares).run(SECONDS)

    twins.live.runner.close()

    same = [one == other for one, other in twins.orders]
    apart = max(abs(one[tier] - other[tier]) for one, other in twins.orders for tier in TIERS)
    assert len(twins.orders) > 150
    assert len({tuple(one.values()) for one, _ in twins.orders}) > 2  # something happened
    assert sum(same) >= 0.95 * len(same), [pair for pair in twins.orders if pair[0] != pair[1]]
    assert apart <= 1
