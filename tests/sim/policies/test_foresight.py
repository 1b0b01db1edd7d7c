"""Bounds that are known only afterwards."""

from dataclasses import replace

import pytest

from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Cascade
from modelfleet.sim.policies.foresight import Load, Peak, least_gpu_h, look_through, oracle, rates_rps
from modelfleet.sim.world import World
from tests.sim.policies.rows import CALM, SMALL, seen

STEPS = [(20.0, 300.0), (90.0, 300.0), (20.0, 300.0)]
ONE = Cascade((SMALL,))


@pytest.fixture(scope="module")
def load() -> Load:
    return look_through(staged(STEPS, prompt=512, output=128, seed=1), seconds=900.0)


def test_a_load_is_counted_by_the_second_and_sampled(load: Load):
    assert len(load.per_second) == 900
    assert sum(load.per_second[300:600]) / 300 == pytest.approx(90.0, rel=0.05)
    assert (load.lengths.prompt, load.lengths.output) == (512, 128)
    assert len(load.requests) == 4000


def test_the_peak_is_what_the_busiest_minute_needs(load: Load):
    rate_rps = rates_rps(ONE, load)["small"]
    wanted = Peak(ONE, load, (1.0,)).decide(seen()).replicas["small"]

    assert wanted == -(-95 // rate_rps) or wanted == -(-90 // rate_rps)
    assert Peak(ONE, load, (1.0,)).decide(seen(replace(CALM, tier=replace(SMALL, replicas_max=1)))).replicas == {"small": 1}  # fmt: skip


def test_nobody_does_with_less_than_who_knows_the_future(load: Load):
    tally = World(ONE, staged(STEPS, prompt=512, output=128, seed=1), oracle(ONE, load, (1.0,))).run(900.0)

    assert tally.attainment > 0.97
    assert least_gpu_h(ONE, load, (1.0,)) < tally.gpu_h
