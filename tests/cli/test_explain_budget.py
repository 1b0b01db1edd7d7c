"""What is said of a budget, and of whom nothing is."""

from typing import Any

from modelfleet.api.cascade import Cascade
from modelfleet.cli.explain_budget import Spent, lines, read
from modelfleet.plan import spending
from modelfleet.plan.spending import Ledger
from tests.fakes import FakeCluster
from tests.make import cascade_object

NOON = 1_795_348_800.0
LEDGER = Ledger(start_s=NOON, since_s=NOON, at_s=NOON + 900, spent={"small": 1.25, "gpt": 2.0})
COST = {
    "since": "2026-11-22T12:00:00Z",
    "until": "2026-11-23T00:00:00Z",
    "spentUSD": "3",
    "limitUSD": "50",
    "forecastUSD": "41.5",
}
SAID = {"type": "WithinBudget", "status": "True", "reason": "Kept", "message": "Within 50 USD a Day"}


def chat(**more: Any) -> dict[str, Any]:
    budget = {"window": "Day", "maxUSD": "50"}
    return cascade_object(
        "chat", **{"budget": budget, "status": {"cost": COST, "conditions": [SAID]}, **more}
    )


def test_what_was_spent_by_whom_and_where_it_goes():
    assert lines(Spent(Cascade.model_validate(chat()), LEDGER)) == [
        "budget: 3.25 of 50 USD this Day, from 2026-11-22T12:00:00Z to 2026-11-23T00:00:00Z; at this rate 41.5 USD by then",
        "spent by tier, as of 2026-11-22T12:15:00Z: gpt 2, small 1.25",
        "Kept: Within 50 USD a Day",
    ]


def test_the_status_is_newer_than_what_is_kept():
    newer = chat(status={"cost": {**COST, "spentUSD": "4.5"}})

    assert lines(Spent(Cascade.model_validate(newer), LEDGER))[0].startswith("budget: 4.5 of 50 USD")


def test_a_budget_that_has_just_been_set():
    (said,) = lines(Spent(Cascade.model_validate(chat(status={})), Ledger(at_s=NOON)))

    assert said == "budget: 0 of 50 USD this Day"


async def test_it_is_read_of_the_cascade_and_its_notes():
    cluster = FakeCluster()
    cluster.put(chat())
    assert await read(cluster, "chat", "models") is None  # nothing is kept yet

    notes = {"name": "chat-cascade-plan", "namespace": "models"}
    cluster.put({"kind": "ConfigMap", "metadata": notes, "data": {"budget.json": spending.encode(LEDGER)}})
    found = await read(cluster, "chat", "models")
    assert found is not None
    assert found.ledger == LEDGER
    assert await read(cluster, "other", "models") is None

    cluster.put(chat(budget=None))
    assert await read(cluster, "chat", "models") is None
