"""One snapshot in, one plan out: the place where replicas and weights are decided together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelfleet.plan import controls, planner, pools, rules, thresholds, weights
from modelfleet.plan.group import Group
from modelfleet.plan.rules import Verdict
from modelfleet.plan.snapshot import FleetSnapshot, Name
from modelfleet.plan.thresholds import Threshold
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
    tier_plans: Mapping[Name, planner.TierPlan] = field(default_factory=dict)
    thresholds: Mapping[Name, Mapping[str, Threshold]] = field(default_factory=dict)  # by tier of a Cascade


def plan(fleet: FleetSnapshot, plannings: Sequence[Planning] = ()) -> Plan:
    """Decide for the whole fleet; replicas of planned tiers only where `plannings` has what is seen of them."""
    planned = [_planned(one) for one in plannings]
    found = {
        name: tier
        for one in planned
        for name, tier in zip(one.planning.group.tiers, one.plan.tiers, strict=True)
    }
    weighed = {name: weights.decide(cascade) for name, cascade in fleet.cascades.items()}
    return Plan(
        planned=planned,
        tier_plans=found,
        tiers=_within_controls(
            {
                name: rules.decide(replace(tier, planned=found.get(name)), fleet.now_s)
                for name, tier in fleet.tiers.items()
            },
            fleet,
        ),
        cascades=weighed,
        thresholds={
            name: thresholds.choose(
                cascade.bars, weighed[name].weights, escalations_max=cascade.escalations_max
            )
            for name, cascade in fleet.cascades.items()
            if cascade.bars
        },
    )


def _within_controls(verdicts: Mapping[Name, Verdict], fleet: FleetSnapshot) -> Mapping[Name, Verdict]:
    """Pools share out what all else has decided; observing comes last, since it shows what would be done."""
    tiers = fleet.tiers
    fallen = {name: controls.fall_back(verdict, tiers[name]) for name, verdict in verdicts.items()}
    limited = pools.limit(fallen, tiers, fleet.pools)
    return {name: controls.observe(verdict, tiers[name]) for name, verdict in limited.items()}


def _planned(planning: Planning) -> Planned:
    found, state = planner.plan(planning.look, planning.state, planning.settings)
    return Planned(planning, found, state)
