"""What else a look could have meant."""

from dataclasses import replace

import pytest

from modelfleet.plan.alternatives import alternatives, without_each_rail
from modelfleet.plan.joint import Bound
from modelfleet.plan.planner import Look, Settings, State
from modelfleet.plan.rails import Course
from tests.plan.calm_look import BIG, CALM, SMALL, STEADY


def test_each_is_told_with_its_price():
    found = {one.what: one for one in alternatives(CALM, STEADY, Settings())}

    assert found["as it runs"].replicas == (4, 4)
    assert found["as it runs"].price == 4 * 1.0 + 4 * 4.0
    assert found["each tier for its own peak"].price >= found["what the load asks for"].price
    assert found["objectives twice as loose"].price <= found["what the load asks for"].price
    assert found["no room for bursts"].price <= found["what the load asks for"].price


def test_one_tier_has_no_peak_to_share():
    alone = replace(CALM, tiers=(replace(SMALL, share=1.0),))

    assert "each tier for its own peak" not in {one.what for one in alternatives(alone, STEADY, Settings())}


def small(**change: object) -> Look:
    return replace(CALM, tiers=(replace(SMALL, **change), BIG))


NINE = small(replicas=9, ready=9)
LONG_LESS = replace(STEADY, courses=(Course(((CALM.now_s - 500, 9), (CALM.now_s - 310, 2))), Course()))
HELD = {
    "less load since this look": (NINE, STEADY, {"StabilizationWindow"}),
    "less load for long": (NINE, LONG_LESS, set()),
    "those that would stay are not ready": (small(replicas=9, ready=1, starting=8), LONG_LESS, {"PodsStarting"}),
    "memory that fewer had no room for": (small(replicas=9, ready=9, kv=0.7), LONG_LESS, {"WouldNotFit"}),
    "memory full beyond what the model believes": (small(kv=0.9), STEADY, {"EngineFull"}),
    "no numbers": (replace(small(replicas=1, ready=1), complete=False), STEADY, {"MetricsStale"}),
    "the user's maximum": (small(replicas=1, ready=1, replicas_max=2), STEADY, {"AtMaximum"}),
    "money for what runs": (
        replace(small(replicas=1, ready=1), bounds=(Bound((1.0, 4.0), 17.0),)),
        STEADY,
        {"AtBudget"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("look", "state", "rails"), HELD.values(), ids=HELD)
def test_a_rail_that_holds_says_what_it_holds(look: Look, state: State, rails: set[str]):
    assert {one.what for one in without_each_rail(look, state, Settings())} == rails


def test_without_the_window_fewer_would_run():
    (found,) = without_each_rail(NINE, STEADY, Settings())

    assert found.replicas[0] < 9
    assert found.price < 9 * 1.0 + 4 * 4.0


def test_where_no_rail_holds_there_is_nothing_to_tell():
    fits = replace(CALM, tiers=(replace(SMALL, replicas=2, ready=2), BIG))

    assert without_each_rail(fits, STEADY, Settings()) == []
