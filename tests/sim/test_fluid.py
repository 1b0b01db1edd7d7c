"""The fluid is a quick look at the same fleet: it must not tell another story than the requests do."""

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths
from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Arrival, Cascade, Slo, Tier
from modelfleet.sim.fluid import Fluid
from modelfleet.sim.policies.ours import Lead
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.tail import measure
from modelfleet.sim.world import World

Stages = list[tuple[float, int]]
STAGES: Stages = [(20.0, 300), (60.0, 600), (100.0, 400), (30.0, 600)]


# What overload there is differs: to the fluid it is all or nothing.
SLOPES: Stages = [(30.0, 600), (45.0, 600), (60.0, 600), (45.0, 900)]


def cascade(replicas: int) -> Cascade:
    return Cascade((Tier("small", PROFILES["8b-h100"], replicas_start=replicas, replicas_max=10),))


def both(replicas: int, policy: type, stages: Stages = STAGES) -> tuple[float, float, float, float]:
    seconds = round(sum(length for _, length in stages))
    arrivals = list(staged(stages, prompt=512, output=128, seed=3))
    per_second = [0.0] * seconds
    for one in arrivals:
        per_second[int(one.at_s)] += 1
    tails = {"small": measure(PROFILES["8b-h100"], [Arrival(0.0, 512, 128)], Slo())}
    fluid = Fluid(cascade(replicas), Lengths(512, 128), policy(), tails=tails).run(per_second)
    exact = World(cascade(replicas), arrivals, policy()).run(float(seconds))
    return fluid.attainment, exact.attainment, fluid.gpu_h, exact.gpu_h


def test_a_fixed_fleet_costs_the_same_and_is_as_good():
    fluid, exact, fluid_h, exact_h = both(3, Static)

    assert fluid == pytest.approx(exact, abs=0.03)
    assert fluid_h == pytest.approx(exact_h, rel=0.001)


def test_a_planner_orders_as_much_of_either():
    fluid, exact, fluid_h, exact_h = both(2, Lead, SLOPES)

    assert fluid == pytest.approx(exact, abs=0.02)
    assert fluid_h == pytest.approx(exact_h, rel=0.05)
