"""One snapshot in, one plan out: the place where replicas and weights are decided together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modelfleet.plan import controls, planner, rules, weights
from modelfleet.plan.group import Group
from modelfleet.plan.rules import Verdict
from modelfleet.plan.snapshot import FleetSnapshot, Name, TierSnapshot
from modelfleet.plan.weights import WeightsVerdict


@dataclass(frozen=True, slots=True)
class Planning:
    """Cascades that are planned together: what is seen of them, and what was learned."""

    group: Group
    look: planner.Look
    state: planner.State
    settings: planner.Settings


@dataclass(frozen=True, slots=True)
class Planned:
    """What came of it.  `state`: what was learned now."""

    planning: Planning
    plan: planner.Plan
    state: planner.State


@dataclass(frozen=True, slots=True)
class Plan:
    """A verdict for every tier that scales and for every Cascade, and the plans that stand behind them."""

    tiers: Mapping[Name, Verdict]
    cascades: Mapping[Name, WeightsVerdict]
    planned: Sequence[Planned] = ()


def plan(fleet: FleetSnapshot, plannings: Sequence[Planning] = ()) -> Plan:
    """Decide for the whole fleet; replicas of planned tiers only where `plannings` has what is seen of them."""
    planned = [_planned(one) for one in plannings]
    found = {
        name: tier
        for one in planned
        for name, tier in zip(one.planning.group.tiers, one.plan.tiers, strict=True)
    }
    return Plan(
        planned=planned,
        tiers={
            name: _tier(replace(tier, planned=found.get(name)), fleet.now_s)
            for name, tier in fleet.tiers.items()
        },
        cascades={name: weights.decide(cascade) for name, cascade in fleet.cascades.items()},
    )


def _tier(snap: TierSnapshot, now_s: float) -> Verdict:
    return controls.observe(controls.fall_back(rules.decide(snap, now_s), snap), snap)


def _planned(planning: Planning) -> Planned:
    found, state = planner.plan(planning.look, planning.state, planning.settings)
    return Planned(planning, found, state)
