"""One look, one decision: a small and a dear tier, both vLLM on H100."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.plan.joint import Bound
from modelfleet.plan.margin import Attained
from modelfleet.plan.planner import Look, Plan, Settings, State, TierLook, plan
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives
from tests.plan.calm_look import BIG, CALM, SMALL, STEADY

WAVES = State(rates_rps=((40.0,) * 10 + (80.0,) * 10) * 8)


def decide(look: Look = CALM, state: State = STEADY, how: Settings | None = None) -> Plan:
    found, _ = plan(look, state, how or Settings())
    return found


def replicas(found: Plan) -> tuple[int, ...]:
    return tuple(tier.replicas for tier in found.tiers)


def with_tiers(**change: object) -> Look:
    return replace(CALM, tiers=tuple(replace(tier, **change) for tier in CALM.tiers))


def reasons(found: Plan) -> tuple[str, ...]:
    return tuple(tier.reason for tier in found.tiers)


def test_the_dear_tier_gets_its_share_of_the_total_and_the_peak_is_pooled():
    found = decide()

    assert [tier.bound for tier in found.tiers] == ["OwnShare", "OwnShare"]
    assert [tier.bound for tier in decide(state=WAVES).tiers] == ["Together", "OwnShare"]
    assert found.tiers[1].free == 4  # 21 of 60 a second, and one carries 5.4 with few enough misses
    assert found.peak_rps > 60.0


def test_what_the_router_moved_changes_nothing():
    moved = replace(CALM, tiers=(replace(SMALL, rate_rps=20.0), replace(BIG, rate_rps=40.0)))

    assert [tier.free for tier in decide(moved).tiers] == [tier.free for tier in decide().tiers]


@pytest.mark.parametrize(
    ("rates", "want"),
    [
        pytest.param((0.0,) * 240 + (60.0,) * 5, 1, id="a burst after an hour of nothing: a part of it"),
        pytest.param((0.0,) * 240 + (60.0,) * 8, 4, id="back for two minutes: all of it"),
        pytest.param((60.0,) * 240 + (20.0,) * 8, 3, id="less for two minutes: what came lately"),
    ],
)  # fmt: skip
def test_the_dear_tier_is_sized_for_what_lasts(rates: tuple[float, ...], want: int):
    look = replace(CALM, arrived=15 * rates[-1])

    assert decide(look, State(rates_rps=rates)).tiers[1].free == want


def test_a_look_that_found_nothing_holds_and_is_forgotten():
    found, state = plan(replace(CALM, complete=False, arrived=0.0), STEADY, Settings())

    assert replicas(found) == (4, 4)
    assert set(reasons(found)) == {"MetricsStale"}
    assert state is STEADY


def test_without_answers_nothing_is_known():
    assert set(reasons(decide(with_tiers(lengths=None)))) == {"NoAnswers"}


def test_uneven_traffic_gets_more_room():
    clumps = replace(CALM, counts=[0.0, 600.0] * 60)

    assert decide(clumps).peak_rps > 1.2 * decide().peak_rps


def test_misses_widen_the_room():
    poor = replace(STEADY, attained=Attained(answers=200_000.0, good=180_000.0))
    _, state = plan(CALM, poor, Settings())

    assert (state.deviations or 0.0) > Settings().deviations


def test_what_misses_while_a_replica_starts_is_no_uneven_traffic():
    missed = replace(CALM, answers=900.0, good=0.0)
    starting = replace(missed, tiers=[replace(CALM.tiers[0], starting=1), CALM.tiers[1]])

    assert plan(missed, STEADY, Settings())[1].attained.answers == 900.0
    assert plan(starting, STEADY, Settings())[1].attained.answers == 0.0


def test_an_outage_shrinks_nothing():
    quiet = replace(STEADY, rates_rps=(*(60.0,) * 100, *(0.0,) * 40))
    gone, _ = plan(replace(CALM, arrived=0.0, counts=[0.0] * 120), quiet, Settings())

    assert {one.reason for one in gone.tiers} == {"TrafficStopped"}


def test_the_fewer_objectives_are_to_be_kept_the_fewer_replicas_are_bought():
    crowd, busy = replace(CALM, arrived=1500.0), replace(STEADY, rates_rps=(100.0,) * 160)
    found = [plan(crowd, busy, Settings(misses=part))[0] for part in (0.002, 0.01, 0.05, 0.5)]
    bought = [one.tiers[0].free + 4 * one.tiers[1].free for one in found]

    assert all(more > less for more, less in pairwise(bought))


def test_slow_engines_are_planned_as_they_are():
    slow = replace(STEADY, samples=((1.4,) * 20, (1.4,) * 20))

    assert decide(state=slow).tiers[0].carries_rps < 0.8 * decide().tiers[0].carries_rps


def test_step_times_are_sampled_only_where_they_tell():
    _, calm = plan(with_tiers(itl_s=0.02), STEADY, Settings())
    _, moving = plan(with_tiers(itl_s=0.02, starting=1), STEADY, Settings())

    assert all(calm.samples)
    assert not any(moving.samples)


def test_each_for_itself_costs_more():
    alone = decide(state=WAVES, how=Settings(pooled=False))
    price = [tier.price for tier in CALM.tiers]

    assert sum(n.free * p for n, p in zip(alone.tiers, price, strict=True)) > sum(
        n.free * p for n, p in zip(decide(state=WAVES).tiers, price, strict=True)
    )


def test_few_places_are_reason_enough():
    few = replace(PROFILES["8b-h100"], sequences_max=8)

    assert decide(with_tiers(engine=few)).tiers[0].free > 2 * decide().tiers[0].free


def test_not_enough_allowed_is_said():
    found = decide(with_tiers(replicas_max=1, replicas=1, ready=1))

    assert not found.feasible
    assert replicas(found) == (1, 1)


def test_a_restarted_planner_decides_as_the_old_one_would():
    _, state = plan(CALM, STEADY, Settings())
    again = State(**{name: getattr(state, name) for name in State.__slots__})

    assert decide(state=again) == decide(state=state)


rates = st.lists(st.floats(0, 500), min_size=1, max_size=200).map(tuple)
looks = st.builds(
    lambda small, big, waiting, kv: replace(
        CALM,
        tiers=(
            replace(SMALL, replicas=small, ready=small, waiting=waiting, kv=kv),
            replace(BIG, replicas=big, ready=big),
        ),
    ),
    st.integers(1, 20),
    st.integers(1, 20),
    st.floats(0, 500),
    st.floats(0, 1),
)


@settings(max_examples=60, deadline=None)
@given(looks, rates)
def test_never_down_on_lost_data_and_never_out_of_bounds(look: Look, past: tuple[float, ...]):
    state = State(rates_rps=past)
    lost, found = decide(replace(look, complete=False), state), decide(look, state)

    assert replicas(lost) == tuple(tier.replicas for tier in look.tiers)
    assert all(
        tier.replicas_min <= n <= tier.replicas_max
        for n, tier in zip(replicas(found), look.tiers, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(rates, st.floats(1.0, 3.0))
def test_more_load_never_costs_less(past: tuple[float, ...], times: float):
    def cost(factor: float) -> float:
        look = replace(CALM, arrived=CALM.arrived * factor, counts=[one * factor for one in CALM.counts])
        found = decide(look, State(rates_rps=tuple(one * factor for one in past)))
        return sum(n.free * tier.price for n, tier in zip(found.tiers, look.tiers, strict=True))

    assert cost(times) >= cost(1.0)


SLOTTED = replace(SMALL, engine=None, slots=4, answer_s=2.0, lengths=None, share=1.0, replicas=4, ready=4)


def alone(tier: TierLook, **change: object) -> Look:
    return replace(CALM, tiers=(tier,), arrived=60.0, counts=[20.0] * 120, **change)


def test_without_a_profile_its_own_answers_say_what_a_replica_carries():
    (found,) = decide(alone(SLOTTED), State(rates_rps=(4.0,) * 160)).tiers

    assert (found.carries_rps, found.under_way, found.limit) == (1.4, 2.8, "Slots")
    assert 4 / 1.4 < found.free < 3 * 4 / 1.4


def test_a_tier_that_has_answered_nothing_holds_alone():
    silent = replace(BIG, lengths=None)

    small, big = decide(replace(CALM, tiers=(replace(SMALL, replicas=1, ready=1), silent))).tiers

    assert (big.replicas, big.reason) == (4, "NoAnswers")
    assert small.reason == "LoadAhead"


def test_an_objective_below_an_idle_replica_is_infeasible():
    impossible = replace(CALM, goals=Objectives(0.001, 0.05))

    assert {tier.reason for tier in decide(impossible).tiers} <= {"Infeasible", "NoAnswers"}


BLIND = {
    "nothing is fresh: holds": (replace(CALM, complete=False), 4, "MetricsStale"),
    "queues are fresh and short": (replace(CALM, complete=False, gauges=True), 4, "MetricsStale"),
    "queues are fresh and long: one more": (
        replace(CALM, complete=False, gauges=True, tiers=(replace(SMALL, waiting=50.0), BIG)),
        5,
        "EngineFull",
    ),
}


@pytest.mark.parametrize(("look", "want", "reason"), BLIND.values(), ids=BLIND)
def test_blind(look: Look, want: int, reason: str):
    small = decide(look).tiers[0]

    assert (small.replicas, small.reason) == (want, reason)


BACKLOG = {
    "nothing waits": (replace(SMALL, ready=3, replicas=3), True),
    "all are busy and much waits: more": (replace(SMALL, ready=2, replicas=2, waiting=1500.0), False),
    "those that start will work it off": (
        replace(SMALL, ready=2, starting=1, replicas=3, waiting=1500.0),
        True,
    ),
    "idle ones work it off before a new one is there": (replace(SMALL, ready=4, waiting=400.0), True),
    "more than all of them can work off: more": (
        replace(SMALL, ready=2, starting=1, waiting=90_000.0),
        False,
    ),
}


@pytest.mark.parametrize(("tier", "same"), BACKLOG.values(), ids=BACKLOG)
def test_a_backlog_asks_for_what_is_not_coming(tier: TierLook, *, same: bool):
    busy = replace(tier, share=1.0, rate_rps=60.0)
    look = replace(CALM, tiers=(busy,))
    calm = replace(CALM, tiers=(replace(busy, waiting=0.0),))

    assert (decide(look).tiers[0].free == decide(calm).tiers[0].free) is same


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.floats(1.1, 4.0),
    st.floats(0.0, 200.0),
    st.sampled_from([0.0, 15.0, 60.0, 120.0, 240.0]),
    st.floats(0.0, 1.0),
)
def test_who_waits_for_replicas_that_start_orders_no_more(
    ready: int, over: float, waiting: float, lead_s: float, part: float
):
    """Arrivals are steady, and all that the ready ones do not carry piles up until the ordered ones are there."""
    carries_rps = decide(alone(SLOTTED)).tiers[0].carries_rps
    rate_rps = over * ready * carries_rps
    state = State(rates_rps=(rate_rps,) * 160)
    busy = replace(
        SLOTTED,
        ready=ready,
        replicas=ready,
        replicas_max=50,
        rate_rps=rate_rps,
        lead_s=lead_s,
        waiting=waiting,
    )
    steady = replace(alone(busy), arrived=15 * rate_rps, counts=[5 * rate_rps] * 120)
    first = decide(steady, state).tiers[0].replicas
    piled = waiting + (rate_rps - ready * carries_rps) * part * lead_s
    later = replace(busy, replicas=first, starting=first - ready, waiting=piled)

    assert decide(replace(steady, tiers=(later,)), state).tiers[0].replicas == first


NO_NUMBERS = {
    "arrivals": replace(CALM, arrived=math.nan),
    "one count": replace(CALM, counts=[*CALM.counts[:-1], math.inf]),
    **{
        f"{name}, {value}": with_tiers(**{name: value})
        for name in ("waiting", "share", "lead_s", "rate_rps", "kv", "itl_s")
        for value in (math.nan, math.inf)
    },
    "lengths": with_tiers(lengths=Lengths(math.nan, 155)),
}


@pytest.mark.parametrize("look", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_as_good_as_missing(look: Look):
    found, state = plan(replace(look, complete=True, gauges=True), STEADY, Settings())

    assert replicas(found) == (4, 4)
    assert set(reasons(found)) == {"MetricsStale"}
    assert state is STEADY


def test_where_all_are_infeasible_what_would_do_is_told():
    found = decide(replace(CALM, goals=Objectives(1e-6, 0.05)))

    assert replicas(found) == (4, 4)
    assert set(reasons(found)) == {"Infeasible"}
    assert (
        found.tiers[0].message
        == "No replica keeps ttftP95 of 0.001ms, and an idle replica of small takes 33ms; holding"
    )
    assert "idle replica of big takes" in found.tiers[1].message


def test_a_tier_that_has_shown_to_be_slow_is_told_as_it_is():
    slow = replace(STEADY, samples=((1.4,) * 20,))
    empty_s = PROFILES["8b-h100"].step_s
    found = decide(alone(replace(SMALL, share=1.0), goals=Objectives(1.0, 1.1 * empty_s)), slow)

    assert found.tiers[0].reason == "Infeasible"
    assert "itlP95 of" in found.tiers[0].message


def test_a_budget_that_pays_for_all_changes_no_decision():
    rich = replace(CALM, bounds=(Bound((1.0, 4.0), 1000.0),))

    for state in (STEADY, WAVES):
        assert decide(rich, state) == decide(CALM, state)


def test_a_poor_budget_holds_replicas_down_whatever_runs_and_waits():
    """Engines that are full are no reason to spend what is not there, nor is a window of stabilization."""
    free = decide()
    money = sum(tier.free * price for tier, price in zip(free.tiers, (1.0, 4.0), strict=True)) - 3.0
    busy = tuple(replace(tier, replicas=9, ready=9, waiting=500.0, kv=0.95) for tier in CALM.tiers)
    found = decide(replace(CALM, tiers=busy, bounds=(Bound((1.0, 4.0), money),)))

    counts = replicas(found)
    assert counts[0] + 4 * counts[1] <= money
    assert "AboveBudget" in {tier.reason for tier in found.tiers}
    assert "Budget" in {tier.bound for tier in found.tiers}
    assert not found.feasible
