"""The planner on a simulated fleet: what it is told, and what of its decision arrives."""

from collections.abc import Sequence

import pytest

from modelfleet.plan.planner import Settings
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths
from modelfleet.sim.fleet import Cascade, ColdStart, Conditions, Tier
from modelfleet.sim.fluid import Fluid, FluidOutcome
from modelfleet.sim.policies.ours import Joint, Lead, Relieved
from modelfleet.sim.policies.simple import Hpa
from modelfleet.sim.policy import Policy

LENGTHS = Lengths(914, 155)
FLEET = Cascade(
    (
        Tier("small", PROFILES["8b-h100"], replicas_start=2, replicas_max=10),
        Tier(
            "big",
            PROFILES["70b-h100-tp4"],
            gpus=4,
            replicas_start=2,
            replicas_max=8,
            cold=ColdStart(0, 20, 220),
        ),
    ),
    share_floor=0.35,
)
STEPS = [40.0] * 2400 + [80.0] * 2400 + [40.0] * 2400
BURSTS = ([40.0] * 240 + [80.0] * 60) * 24


def run(policy: Policy, rates: Sequence[float] = STEPS, **how: float) -> FluidOutcome:
    return Fluid(FLEET, LENGTHS, policy, conditions=Conditions(**how)).run(rates)


def test_the_dear_tiers_share_is_kept_over_the_hour():
    outcome = run(Joint())

    assert outcome.share_last == pytest.approx(0.35, abs=0.015)
    assert outcome.share_last_worst_hour > 0.32
    assert outcome.attainment > 0.93


def test_all_tiers_at_once_cost_less_than_each_alone():
    together = run(Joint(), BURSTS)

    assert together.attainment > 0.99
    assert together.gpu_h < 0.7 * run(Lead(), BURSTS).gpu_h
    assert together.gpu_h < 0.7 * run(Joint(Settings(pooled=False)), BURSTS).gpu_h


def test_engines_slower_than_their_profile_get_more_replicas():
    assert run(Joint(), step_factor=1.2).gpu_h > run(Joint()).gpu_h


def test_a_calm_load_is_left_alone():
    assert run(Joint(), [40.0] * 7200).changes <= 4


def test_a_peer_behind_our_router_keeps_its_own_orders():
    outcome = run(Relieved(Hpa(100.0)))

    # Hpa's dear tier is too small for its share: the router gives it what it bears.
    assert outcome.share_last == pytest.approx(0.33, abs=0.04)
