"""A tier that no profile describes, request by request: what `plan/fill.py` learns is what keeps its objectives."""

from dataclasses import replace

import pytest

from modelfleet.plan.fill import Fill
from modelfleet.plan.look import TierFacts
from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Cascade, Slo, Tier
from modelfleet.sim.policies import ours
from modelfleet.sim.policies.ours import Joint
from modelfleet.sim.policy import TierSeen
from modelfleet.sim.tally import Tally
from modelfleet.sim.world import World

HALF_AN_HOUR = 1800.0
translated = ours.facts_of


def nameless(tier: TierSeen, share: float, slo: Slo) -> TierFacts:
    """What is left without a profile: slots, and how answers fared."""
    now, lately = tier.window(Joint.look_s), tier.window(600.0)
    found = translated(tier, share, slo)
    return replace(found, engine=None, answer_s=lately.answer_mean_s, answers=now.answers, good=now.good)


def run(itl_s: float) -> tuple[Tally, Joint]:
    """An hour of 30 requests a second, for which two replicas of 256 slots each seem plenty."""
    tier = Tier("small", PROFILES["8b-h100"], replicas_start=2, replicas_max=12)
    policy = Joint()
    load = staged([(30.0, 2 * HALF_AN_HOUR)], prompt=512, output=128, seed=1)
    world = World(Cascade((tier,), slo=Slo(1.0, itl_s)), load, policy, seed=1)
    return world.run(2 * HALF_AN_HOUR), policy


def kept(tally: Tally) -> float:
    """Part of the answers of the second half."""
    late = [one for one in tally.slices if one.at_s > HALF_AN_HOUR]
    return sum(one.good for one in late) / sum(one.good + one.bad for one in late)


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "facts_of", nameless)


def learned(policy: Joint) -> Fill:
    (one,) = policy._state.fills
    return one


def test_tight_objectives_come_to_be_kept() -> None:
    tally, policy = run(itl_s=0.009)

    assert kept(tally) > 0.97  # of nothing, where slots alone decide
    assert learned(policy).factor < 0.2
    assert max(one.ready[0] for one in tally.slices if one.at_s > HALF_AN_HOUR) <= 4


def test_loose_ones_cost_nothing() -> None:
    tally, policy = run(itl_s=0.05)

    assert kept(tally) > 0.97
    assert learned(policy).factor == 1.0
    assert tally.slices[-1].ready == (1,)


def test_what_not_even_an_idle_replica_keeps_is_given_up() -> None:
    tally, policy = run(itl_s=0.0062)

    assert kept(tally) < 0.1
    assert learned(policy).rests_s > 0
    assert tally.slices[-1].ready == (1,)
