"""Who knows the future."""

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives, capacity
from modelfleet.sim.fleet import Cascade, Tier
from modelfleet.sim.fluid import Fluid
from modelfleet.sim.policies.oracle import Oracle, fractional_gpu_h

LENGTHS = Lengths(914, 155)
FLEET = Cascade((Tier("small", PROFILES["8b-h100"], replicas_max=20),))
RATE = capacity(PROFILES["8b-h100"], LENGTHS, Objectives(1.0, 0.05)).rate_rps


def test_it_is_ready_for_a_jump_and_nearly_as_cheap_as_can_be():
    counts = [0.9 * RATE] * 1200 + [3.9 * RATE] * 1200 + [0.9 * RATE] * 1200
    oracle = Oracle({"small": RATE}, counts, (1.0,))
    outcome = Fluid(FLEET, LENGTHS, oracle).run(counts)

    assert outcome.attainment == pytest.approx(1.0, abs=0.005)
    assert 1.0 < outcome.gpu_h / fractional_gpu_h(FLEET, LENGTHS, counts, (1.0,)) < 1.25
