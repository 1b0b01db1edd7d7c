"""The operator's own loop in the simulator: what the user's YAML says holds, and it orders what the planner orders."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.capacity.plan import GOAL
from modelfleet.plan.load import INTERVAL_S
from modelfleet.plan.planner import Settings
from modelfleet.sim.arrivals import Day, staged, synthetic
from modelfleet.sim.fleet import Arrival, Conditions
from modelfleet.sim.operator.policy import Operator
from modelfleet.sim.policies.ours import Joint
from modelfleet.sim.policy import Orders, Seen
from modelfleet.sim.scenario import Scenario, Told, read
from modelfleet.sim.tally import Tally
from modelfleet.sim.world import World

EXAMPLE = Path(__file__).parents[3] / "examples" / "planned" / "cascade.yaml"
TIERS = ("small", "big")
SECONDS = 2400.0
MONDAY_EIGHT_S = 1_767_600_000.0  # 2026-01-05T08:00Z


@dataclass
class Twins:
    """The simulator's planner decides; the operator is asked beside it."""

    live: Operator
    joint: Joint = field(default_factory=lambda: Joint(Settings(goal=GOAL)))
    orders: list[tuple[dict[str, int], dict[str, int]]] = field(default_factory=list)
    name: str = "twins"
    look_s: float = INTERVAL_S

    def decide(self, seen: Seen) -> Orders:
        self.live.overrule({tier.tier.name: tier.wanted for tier in seen.tiers})
        beside = self.live.decide(seen)
        found = self.joint.decide(seen)
        self.orders.append((dict(found.replicas), dict(beside.replicas)))
        return found


def test_the_live_loop_orders_what_the_simulators_planner_orders():
    scenario = read([*yaml.safe_load_all(EXAMPLE.read_text())], Told(cold_start_s=120.0))
    day = synthetic(Day(mean_rps=60.0), seconds=SECONDS, seed=3)
    with closing(Operator(scenario.documents, "chat")) as live:
        twins = Twins(live)
        conditions = Conditions(scrape_s=INTERVAL_S)
        World(scenario.fleet, day, twins, conditions=conditions, seed=3, entry=scenario.entry).run(SECONDS)

    same = [one == other for one, other in twins.orders]
    apart = max(abs(one[tier] - other[tier]) for one, other in twins.orders for tier in TIERS)
    assert len(twins.orders) > 150
    assert len({tuple(one.values()) for one, _ in twins.orders}) > 2  # something happened
    assert sum(same) >= 0.95 * len(same), [pair for pair in twins.orders if pair[0] != pair[1]]
    assert apart <= 1


TIER = """
kind: ModelTier
metadata: {{name: llama-{size}, annotations: {{{annotations}}}}}
spec:
  model: {{uri: "hf://o/m"}}
  vllm: {{}}
  nodePool: {{name: h100, count: {units}}}
  scaling: {{{scaling}}}
"""
CASCADE = """
kind: Cascade
metadata: {{name: chat, annotations: {{{annotations}}}}}
spec:
  modelName: chat
  slo: {{ttftP95: 1s, itlP95: 50ms}}
  tiers:
  - {{name: small, tierRef: {{name: llama-8b}}, weight: {{initial: 7}}{small}}}
  - {{name: big, tierRef: {{name: llama-70b}}, weight: {{initial: 3}}{big}}}
"""


def fleet(
    small: str = "maxReplicas: 6, profile: 8b-h100",
    big: str = "maxReplicas: 6, profile: 70b-h100-tp4",
    *,
    pin: str = "",
    weights: str = "",
    steps: tuple[str, str] = ("", ""),
) -> Scenario:
    texts = [
        TIER.format(size="8b", annotations=pin, units=1, scaling=small),
        TIER.format(size="70b", annotations="", units=4, scaling=big),
        CASCADE.format(annotations=weights, small=steps[0], big=steps[1]),
    ]
    documents: list[Any] = [yaml.safe_load(text) for text in texts]
    profiles = {"llama-8b": "8b-h100", "llama-70b": "70b-h100-tp4"}
    return read(documents, Told(profiles=profiles, cold_start_s=60.0))


def load(*steps: tuple[float, float]) -> Iterator[Arrival]:
    for at, one in enumerate(staged(steps or ((10.0, 1800.0),), prompt=512, output=128, seed=2)):
        yield replace(one, question=at)


def run(
    scenario: Scenario,
    arrivals: Iterator[Arrival],
    until_s: float,
    *,
    settings: FleetSettings | None = None,
    conditions: Conditions | None = None,
) -> tuple[Tally, list[str]]:
    policy = Operator(scenario.documents, scenario.cascade, settings=settings, start_s=MONDAY_EIGHT_S)
    with closing(policy):
        world = World(
            scenario.fleet, arrivals, policy, conditions=conditions, entry=scenario.entry, prompt=policy
        )
        return world.run(until_s), [*policy.said()]


def ordered(tally: Tally, at_s: float) -> Sequence[int]:
    return next(one.replicas for one in reversed(tally.slices) if one.at_s <= at_s and one.replicas)


def test_a_schedule_runs_by_the_clock():
    rule = 'schedules: [{cron: "10 9 * * 1-5", duration: 10m, timeZone: Europe/Zurich, minReplicas: 4}]'
    scenario = fleet(f"maxReplicas: 6, profile: 8b-h100, {rule}")
    tally, _ = run(scenario, load((2.0, 3000.0)), 3000.0)

    assert ordered(tally, 540)[0] == 1
    assert ordered(tally, 720)[0] == 4  # from 8:10 UTC
    assert ordered(tally, 2940)[0] == 1


def test_a_tier_that_sleeps_is_woken_by_the_next_request():
    idle = "minReplicas: 0, maxReplicas: 3, profile: 8b-h100, idle: {after: 5m}"
    scenario = fleet(idle)
    tally, _ = run(scenario, load((2.0, 120.0), (0.0, 900.0), (2.0, 200.0)), 1400.0)

    assert ordered(tally, 960)[0] == 0
    assert ordered(tally, 1080)[0] == 1
    assert tally.refusals == 0
    assert (tally.ttft.quantile_s(0.99) or 0.0) > 30.0  # the first ones waited for it


def test_pins_go_before_everything():
    scenario = fleet(pin='modelfleet.dev/pin-replicas: "5"', weights="modelfleet.dev/pin-weights: small=100")
    tally, _ = run(scenario, load(), 600.0)

    assert ordered(tally, 540)[0] == 5
    assert tally.slices[-1].entry == (1.0, 0.0)


def test_observe_leaves_what_runs():
    tally, said = run(fleet("maxReplicas: 6, profile: 8b-h100, mode: Observe"), load((30.0, 600.0)), 600.0)

    assert ordered(tally, 540)[0] == 1
    assert any("Observing" in line for line in said)


def test_metrics_of_its_own_decide_about_a_tier():
    own = "maxReplicas: 6, metrics: [{name: busy, type: Concurrency, target: 4}]"
    tally, _ = run(fleet(own), load((10.0, 900.0)), 900.0)

    assert ordered(tally, 840)[0] >= 3


def test_behavior_bounds_the_steps():
    slow = "maxReplicas: 6, metrics: [{name: busy, type: Concurrency, target: 4}], behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 300}]}}"
    tally, _ = run(fleet(slow), load((20.0, 900.0)), 900.0)

    assert [ordered(tally, at_s)[0] for at_s in (60, 420, 720)] == [2, 3, 4]


def test_a_pool_that_is_full_gives_no_more():
    settings = FleetSettings.model_validate({"nodePools": {"h100": {"maxUnits": 5}}})
    tally, said = run(fleet(), load((120.0, 240.0)), 240.0, settings=settings)

    assert ordered(tally, 180) == (1, 1)
    assert any("PoolLimit" in line for line in said)


def test_fallback_comes_when_nothing_has_been_measured_for_long():
    rule = "fallback: {behavior: AtLeast, replicas: 3, after: 3m}"
    own = f"maxReplicas: 6, metrics: [{{name: busy, type: Concurrency, target: 64}}], {rule}"
    conditions = Conditions(blind_from_s=300.0, blind_until_s=900.0)
    tally, _ = run(fleet(own), load((4.0, 900.0)), 900.0, conditions=conditions)

    assert ordered(tally, 420)[0] == 1
    assert ordered(tally, 720)[0] == 3


@pytest.mark.parametrize("share", [30, 60])
def test_thresholds_are_chosen_for_the_target_shares(share: int):
    accept = ", accept: {signal: MeanLogprob}"
    scenario = fleet(steps=(f"{accept}, targetShare: {100 - share}", f", targetShare: {share}"))
    whole = replace(scenario, entry=(1.0, 0.0))
    for document in whole.documents:
        if document["kind"] == "Cascade":
            document["spec"]["tiers"][0]["weight"], document["spec"]["tiers"][1]["weight"] = (
                {"initial": 1},
                {"initial": 0},
            )
    tally, _ = run(whole, load((20.0, 2400.0)), 2400.0)

    assert tally.share_last == pytest.approx(share / 100, abs=0.04)


def test_the_same_seed_gives_the_same_run():
    runs = [run(fleet(), load((30.0, 600.0)), 600.0)[0] for _ in range(2)]

    assert runs[0].answers == runs[1].answers
    assert runs[0].gpu_h == runs[1].gpu_h
