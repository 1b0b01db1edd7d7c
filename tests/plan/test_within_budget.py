"""How a Cascade stands with its budget, in words and in money."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from modelfleet.api.budget import Budget, Cost
from modelfleet.plan.spending import Charge, Ledger
from modelfleet.plan.within_budget import PACE, Account, Standing, cost, stand, usd

DAY = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
NOON = DAY + 12 * 3600
BUDGET = Budget(window="Day", maxUSD="48")
SMALL = Charge("small", per_hour=1.0, replicas=1, least=1)  # 24 a day
CALM = Ledger(
    window="Day", start_s=DAY, since_s=DAY, began_s=DAY - 9, at_s=NOON, spent={"small": 12.0}, per_hour=1.0
)


def standing(
    ledger: Ledger = CALM,
    budget: Budget = BUDGET,
    *charges: Charge,
    unpriced: tuple[str, ...] = (),
    shown: str = "",
) -> Standing:
    return stand(ledger, budget, charges or (SMALL,), unpriced=unpriced, shown=shown)[0]


def spent(dollars: float, **more: object) -> Ledger:
    return replace(CALM, spent={"small": 12.0, "gpt": dollars}, **more)  # type: ignore[arg-type]


def of(budget: Budget, dollars: str) -> Budget:
    return budget.model_copy(update={"max_usd": dollars})


CASES = {
    "half a day, a quarter of the money": (CALM, BUDGET, ("True", "Kept")),
    "what is left and a cent is owed to the least replicas": (
        spent(24.01),
        BUDGET,
        ("False", "Exhausted"),
    ),
    "all that is left is owed, and nothing is missing": (
        spent(24.0, per_hour=0.0),
        BUDGET,
        ("True", "Kept"),
    ),
    "all is spent": (spent(36.0), BUDGET, ("False", "Exhausted")),
    "it goes too fast": (spent(10.0, per_hour=3.0), BUDGET, ("True", "ForecastExceeds")),
    "the least replicas cost more": (CALM, of(BUDGET, "20"), ("False", "Infeasible")),
    "and all of that is spent": (spent(8.0), of(BUDGET, "20"), ("False", "Exhausted")),
}


@pytest.mark.parametrize(("ledger", "budget", "want"), CASES.values(), ids=CASES)
def test_stand(ledger: Ledger, budget: Budget, want: tuple[str, str]):
    found = standing(ledger, budget)

    assert (found.status, found.reason) == want
    assert found.exhausted == (want[1] == "Exhausted")


def test_words_say_what_would_do_and_stay_while_it_would():
    said = standing(CALM, of(BUDGET, "20"))
    assert said.message.endswith("maxUSD would have to be 24")

    half = replace(SMALL, users=2)  # a shared tier: what the Cascade's part of it is moves with every request
    shares = {"small": (70.0, 100.0)}
    shown = f"{said.reason}: {said.message}"
    moved = standing(replace(CALM, sent=shares), of(BUDGET, "15"), half, shown=shown)
    assert moved.message.endswith("maxUSD would have to be 24")
    alone = standing(replace(CALM, sent=shares), of(BUDGET, "15"), half)
    assert alone.message.endswith("maxUSD would have to be 16.8")


@pytest.mark.parametrize("at_s", [DAY, DAY + 1 / 3, NOON, DAY + 86_399.0])
def test_the_limit_that_would_do_does(at_s: float):
    thirds = Charge("small", per_hour=1 / 3, replicas=1, least=1)  # no sum of floats is exact
    ran = replace(CALM, at_s=at_s, spent={"small": (at_s - DAY) / 3600 / 3}, per_hour=1 / 3)
    said = standing(ran, of(BUDGET, "2"), thirds).message
    enough = said.rpartition(" ")[2]

    found = standing(ran, of(BUDGET, enough), thirds)

    assert enough == "8"
    assert (found.reason, found.exhausted) == ("Kept", False)


def test_words_of_a_newer_operator_do_not_end_this_one():
    shown = "Infeasible: the least replicas alone cost more: maxUSD would have to be about 24"

    assert standing(CALM, of(BUDGET, "20"), shown=shown).message.endswith("maxUSD would have to be 24")


def test_of_a_month_the_longest_counts():
    month = Budget(window="Month", maxUSD="700")
    assert "would have to be 744" in standing(CALM, month).message


def test_who_has_no_price_is_named():
    found = standing(unpriced=("gpt (give its spec.price)",))

    assert (found.status, found.reason, found.exhausted) == ("Unknown", "PriceUnknown", False)
    assert "gpt (give its spec.price)" in found.message


MEANS = {
    "StopEscalating": "sent as they are",
    "SkipTier": "external tiers are not asked",
    "Reject": "answered 429",
}


@pytest.mark.parametrize(("action", "means"), MEANS.items(), ids=MEANS)
def test_exhausted_says_until_when_and_what_happens(action: str, means: str):
    found = standing(spent(36.0), Budget(window="Day", maxUSD="48", onExhausted=action))

    assert "until 2026-11-23T00:00:00Z: " in found.message
    assert means in found.message


def test_exhausted_stays_so_while_what_is_owed_wavers():
    """A tier that is shared costs now a bit more, now a bit less: routers must not turn with it."""
    _, ledger = stand(spent(24.01), BUDGET, (SMALL,))
    cheaper = replace(SMALL, per_hour=0.9)

    assert not standing(spent(24.01), BUDGET, cheaper).exhausted
    assert standing(ledger, BUDGET, cheaper).exhausted
    assert not standing(ledger, of(BUDGET, "48.5"), cheaper).exhausted  # more money is more money
    assert not standing(ledger, BUDGET, replace(SMALL, per_hour=0.5)).exhausted


def test_replicas_may_cost_the_least_and_twice_the_even_pace_of_the_rest():
    assert standing().allowed == pytest.approx(1.0 + PACE * 24.0 / 12)
    assert standing(spent(36.0)).allowed == pytest.approx(1.0)
    assert standing(CALM, of(BUDGET, "20")).allowed == pytest.approx(1.0)
    late = replace(CALM, at_s=DAY + 86_400 - 1, spent={"small": 24.0})
    assert standing(late).allowed == pytest.approx(
        1.0 + PACE * 24.0 / 1.2, rel=0.01
    )  # not a day's rest in a second


def test_a_bound_is_the_cascade_s_own_part_of_each_tier():
    charges = (replace(SMALL, users=2), Charge("big", per_hour=4.0, replicas=1, least=0))
    ledger = replace(CALM, sent={"small": (1.0, 4.0)})
    found, after = stand(ledger, BUDGET, charges)

    bound = Account(after, charges, found).bound(["big", "others", "small"])
    assert bound.each == (4.0, 0.0, 0.25)
    assert bound.all == found.allowed


def test_published_numbers_move_by_a_percent():
    first = cost(standing(), CALM, BUDGET, None)
    assert (first.spent_usd, first.limit_usd, first.forecast_usd) == ("12", "48", "24")
    assert (first.since, first.until) == ("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z")

    little, more = spent(0.4), spent(0.5)
    assert cost(standing(little), little, BUDGET, first) is first
    assert cost(standing(more), more, BUDGET, first).spent_usd == "12.5"
    over = spent(36.0)
    assert cost(standing(over), over, BUDGET, Cost.model_validate(first.model_dump())).exhausted


def test_dollars_are_short_decimals():
    assert [usd(x) for x in (0.0, 12.0, 0.1 + 0.2, 1 / 3, 1e-9)] == ["0", "12", "0.3", "0.3333", "0"]
