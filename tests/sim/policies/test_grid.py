"""Every policy of the experiment, on a load that asks for little."""

from dataclasses import replace

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths
from modelfleet.sim.fleet import Cascade, ColdStart, Conditions, Tier
from modelfleet.sim.fluid import Fluid
from modelfleet.sim.policies.grid import FAMILIES, Measured, in_flight
from modelfleet.sim.policies.known import KNOWN

LENGTHS = Lengths(914, 155)
SMALL = Tier("small", PROFILES["8b-h100"], replicas_start=2, replicas_max=8)
BIG = Tier(
    "big", PROFILES["70b-h100-tp4"], gpus=4, replicas_start=2, replicas_max=6, cold=ColdStart(0, 20, 220)
)
MEASURED = Measured(LENGTHS, {"small": 20.0, "big": 5.0})
FLEET = Cascade((SMALL, BIG), share_floor=0.35)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_serves_a_steady_load_and_stays_within_its_bounds(name: str):
    family = FAMILIES[name]
    policy = family.build(FLEET, MEASURED, family.grid[0])
    outcome = Fluid(FLEET, LENGTHS, policy).run([25.0] * 1800)

    # One that scales on waiting requests alone gives replicas away until some wait.
    assert outcome.attainment > (0.3 if name == "keda" else 0.9)
    assert outcome.gpu_h <= (8 + 6 * 4) * 0.5


def test_a_tier_has_more_under_way_near_its_limit():
    half, nearly = (in_flight(FLEET, MEASURED, (part, 1.0))["small"] for part in (0.6, 1.1))

    assert nearly > 2 * half


def test_the_last_part_is_the_last_tiers():
    assert MEASURED.rates(FLEET, (0.5, 2.0)) == {"small": 10.0, "big": 10.0}
    assert MEASURED.rates(FLEET, (0.5,)) == {"small": 10.0, "big": 2.5}


def test_lost_looks_take_nothing_away_but_where_a_peer_reads_them_as_zero():
    rates, lossy = [25.0] * 900 + [8.0] * 1800, Conditions(scrape_loss=0.2)
    found = {
        name: Fluid(FLEET, LENGTHS, KNOWN[name](), conditions=lossy, seed=2).run(rates).lost_downs
        for name in ("joint", "lead", "hpa")
    }

    assert found == {"joint": 0, "lead": 0, "hpa": 0}


def test_the_fluid_knows_no_external_api():
    with pytest.raises(ValueError, match="external API"):
        Fluid(replace(FLEET, tiers=(SMALL, replace(BIG, external=True))), LENGTHS, KNOWN["static"]())
