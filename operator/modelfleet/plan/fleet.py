"""One snapshot in, one plan out: the place where replicas and weights are decided together."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelfleet.plan import rules, weights
from modelfleet.plan.rules import Verdict
from modelfleet.plan.snapshot import FleetSnapshot, Name
from modelfleet.plan.weights import WeightsVerdict


@dataclass(frozen=True, slots=True)
class Plan:
    """A verdict for every tier that scales and for every Cascade."""

    tiers: Mapping[Name, Verdict]
    cascades: Mapping[Name, WeightsVerdict]


def plan(fleet: FleetSnapshot) -> Plan:
    """Decide for the whole fleet."""
    return Plan(
        tiers={name: rules.decide(tier, fleet.now_s) for name, tier in fleet.tiers.items()},
        cascades={name: weights.decide(cascade) for name, cascade in fleet.cascades.items()},
    )
