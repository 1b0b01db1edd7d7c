"""A small fleet as a whole: what must hold whatever the policy does."""

import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Arrival, Cascade, ColdStart, Conditions, Question, Tier
from modelfleet.sim.policies.ours import Joint, Lead
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.policy import Orders, Seen
from modelfleet.sim.tally import Tally
from modelfleet.sim.world import World

SMALL = Tier("small", PROFILES["8b-h100"], replicas_start=2, replicas_max=8)
BIG = Tier(
    "big", PROFILES["70b-h100-tp4"], gpus=4, replicas_start=2, replicas_max=6, cold=ColdStart(0, 20, 220)
)
ONE = Cascade((SMALL,))
TWO = Cascade((SMALL, BIG), share_floor=0.3)


class Told:
    """Orders at given times."""

    name, look_s = "told", 15.0

    def __init__(self, orders: Mapping[float, Orders]) -> None:
        self._orders = orders

    def decide(self, seen: Seen) -> Orders:
        return self._orders.get(seen.now_s, Orders({}))


def load(rate: float = 20.0, seconds: float = 300.0, seed: int = 1) -> Iterator[Arrival]:
    return staged([(rate, seconds)], prompt=512, output=128, seed=seed)


def run(cascade: Cascade = ONE, *, policy: object = None, until_s: float = 400.0, **how: object) -> Tally:
    return World(cascade, load(), policy or Static(), **how).run(until_s)  # type: ignore[arg-type]


def test_a_calm_fleet_serves_everything_within_its_objectives():
    tally = run()

    assert tally.attainment == 1.0
    assert sum(tally.answers) == tally.arrivals
    assert tally.gpu_h == pytest.approx(2 * 400 / 3600)


def test_the_same_seed_gives_the_same_run_and_another_one_another():
    first, again, other = (run(TWO, seed=seed, entry=(0.7, 0.3)) for seed in (5, 5, 6))

    assert (first.answers, first.good) == (again.answers, again.good)
    assert first.answers != other.answers


def test_a_pod_helps_only_after_its_cold_start():
    tally = run(policy=Told({60.0: Orders({"small": 3})}))
    ready = {one.at_s: one.ready for one in tally.slices}

    assert ready[60.0] == (2,)
    assert ready[300.0] == (3,)
    assert tally.gpu_h == pytest.approx((2 * 400 + 340) / 3600)  # paid for from the order on


def test_a_pod_that_goes_finishes_what_it_has():
    tally = run(policy=Told({60.0: Orders({"small": 1})}))

    assert sum(tally.answers) == tally.arrivals
    assert tally.gpu_h < (60 + 5 + 400 + 5) / 3600 * 1.1 + 60 / 3600


def test_what_the_first_tier_is_not_sure_of_goes_to_the_next():
    questions = [Question((-0.1, 0.0), (True, True)), Question((-0.9, 0.0), (False, True))]
    cascade = replace(TWO, questions=questions, thresholds=(-0.5, None))
    arrivals = (replace(one, question=at) for at, one in enumerate(load()))
    tally = World(cascade, arrivals, Static()).run(400.0)

    assert tally.answers[0] == pytest.approx(tally.arrivals / 2, abs=1)
    assert tally.escalated[0] == tally.answers[1]
    assert tally.quality == 1.0
    assert sum(tally.answers) == tally.arrivals


def test_log_probabilities_slow_down_a_tier_whose_answers_are_judged():
    heavy = replace(SMALL, engine=replace(SMALL.engine, logprob_slowdown=0.5))
    plain, judged = (
        World(
            replace(TWO, tiers=(heavy, BIG), thresholds=thresholds), load(), Static(), entry=(1.0, 0.0)
        ).run(400.0)
        for thresholds in ((), (-0.5, None))
    )

    assert (judged.itl.quantile_s(0.5) or 0.0) > 1.4 * (plain.itl.quantile_s(0.5) or 1.0)


def test_lost_looks_change_nothing():
    tally = run(policy=Lead(), conditions=Conditions(scrape_loss=0.999999))

    assert tally.courses["small"].changes == 0


def test_the_joint_planner_keeps_the_dear_tiers_share_over_the_hour():
    world = World(TWO, load(15.0, 4500.0), Joint(), entry=(0.7, 0.3))
    tally = world.run(4600.0)

    assert tally.share_last_worst_hour() > 0.29
    assert tally.attainment > 0.97


orders = st.dictionaries(
    st.integers(1, 12).map(lambda at: 15.0 * at),
    st.builds(Orders, st.fixed_dictionaries({"small": st.integers(1, 5), "big": st.integers(1, 3)})),
)


@settings(max_examples=8, deadline=None)
@given(orders, st.floats(0, 1))
def test_no_request_is_lost_or_answered_twice(told: Mapping[float, Orders], share: float):
    world = World(TWO, load(15.0, 100.0), Told(told), entry=(1 - share, share))
    tally = world.run(1000.0)

    assert sum(tally.answers) + tally.refusals == tally.arrivals
    assert tally.good <= sum(tally.answers)


def test_memory_does_not_grow_with_the_trace():
    """Peaks of what is allocated, six times as long at the same rate: what grows are minutes, and no requests."""

    def peak(hours: float) -> int:
        tracemalloc.start()
        World(ONE, load(3.0, 3600 * hours), Static()).run(3600 * hours)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(0.05)  # imports and caches
    short, long = peak(0.2), peak(1.2)

    assert long < short + 200_000
