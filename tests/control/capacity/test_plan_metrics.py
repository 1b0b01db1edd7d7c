"""What plans show goes when they go."""

import math
from dataclasses import replace

from prometheus_client import CollectorRegistry

from modelfleet.control.capacity.plan_metrics import PlanMetrics
from modelfleet.plan.fleet import Planned, Planning
from modelfleet.plan.group import Group
from modelfleet.plan.learned import Start
from modelfleet.plan.planner import Settings, State, plan
from modelfleet.plan.snapshot import Name
from tests.plan.calm_look import CALM, STEADY

CHAT, SMALL, BIG = Name("ns", "chat"), Name("ns", "small"), Name("ns", "big")
GROUP = Group(CHAT, (CHAT,), (SMALL, BIG), pooled=True)


def planned(state: State = STEADY, *, at_s: float = 0.0) -> Planned:
    look = replace(CALM, now_s=CALM.now_s + at_s)
    found, after = plan(look, state, Settings())
    return Planned(Planning(GROUP, look, state, Settings()), found, after)


def test_a_forecast_is_judged_when_a_replica_could_have_started():
    registry = CollectorRegistry()
    metrics = PlanMetrics(registry)

    def outcome(name: str) -> float:
        labels = {"fleet_namespace": "ns", "cascade": "chat", "outcome": name}
        return registry.get_sample_value("modelfleet_operator_forecasts_total", labels) or 0.0

    metrics.show([planned()], {}, {})
    metrics.show([planned(at_s=120.0)], {}, {})
    assert (outcome("Held"), outcome("Exceeded")) == (0.0, 0.0)  # the dear tier takes 240 s
    metrics.show([planned(at_s=241.0)], {}, {})
    assert (outcome("Held"), outcome("Exceeded")) == (1.0, 0.0)
    metrics.show([planned(State(rates_rps=(400.0,) * 160), at_s=256.0)], {}, {})
    assert outcome("Exceeded") > 0


def test_quantiles_of_the_forecast_are_held_against_what_came():
    registry = CollectorRegistry()
    metrics = PlanMetrics(registry)

    def told(name: str, quantile: float, **more: str) -> float:
        labels = {"fleet_namespace": "ns", "cascade": "chat", "quantile": str(quantile), **more}
        return registry.get_sample_value(f"modelfleet_operator_{name}", labels) or 0.0

    waves = State(rates_rps=tuple(40.0 + 20.0 * math.sin(at / 10) for at in range(160)))
    metrics.show([planned(waves)], {}, {})
    assert told("forecast_per_second", 0.5) < 60.0 < told("forecast_per_second", 0.95)

    metrics.show([planned(at_s=241.0)], {}, {})  # 60 a second came
    assert told("forecast_quantiles_total", 0.5, outcome="Exceeded") == 1.0
    assert told("forecast_quantiles_total", 0.95, outcome="Held") == 1.0


def test_what_is_gone_is_not_shown():
    registry = CollectorRegistry()
    metrics = PlanMetrics(registry)
    metrics.show([planned()], {SMALL: 3}, {SMALL: [Start("u", 1.0, 2.0, 3.0, 4.0)]})
    tier = {"fleet_namespace": "ns", "model_tier": "small"}
    assert registry.get_sample_value("modelfleet_operator_planned_replicas", tier) == 3
    engine = registry.get_sample_value("modelfleet_operator_cold_start_seconds", {**tier, "phase": "engine"})
    assert engine == 4.0

    metrics.show([], {}, {})
    left = [
        sample.name
        for family in registry.collect()
        for sample in family.samples
        if sample.labels.get("cascade")
    ]
    assert {name.removesuffix("_total").removesuffix("_created") for name in left} <= {
        "modelfleet_operator_forecasts",
        "modelfleet_operator_forecast_quantiles",
    }
    assert registry.get_sample_value("modelfleet_operator_planned_replicas", tier) is None
