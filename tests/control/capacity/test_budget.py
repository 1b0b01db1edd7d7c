"""Budgets in the capacity loop: what is counted, kept, said, published and bounded, in a fleet in memory."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.capacity.notes import WRITE_EVERY_S
from modelfleet.control.ports import Key
from modelfleet.plan import spending
from modelfleet.plan.spending import Counted
from tests.control.capacity.fleet import CHAT, SMALL, Fleet
from tests.control.capacity.planned import Planned

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
BEGAN_S = NOON - 3600
NOTES = Key("ConfigMap", "ns", "chat-cascade-plan")
TIERS = [
    {"name": "s", "tierRef": {"name": "small"}},
    {"name": "x", "tierRef": {"name": "gpt"}},
]
API = {
    "external": {"baseURL": "https://api.example.com/v1", "model": "big"},
    "price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "4"},
}


class Paid(Fleet):
    """A small tier at a dollar an hour with one replica, and an API, behind one Cascade with 40 USD a day."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock.now = NOON
        self.respec_tier("small", price={"perReplicaHour": "1"})
        self.apply("ModelTier", "gpt", API)
        self.budget("40")
        self.pod("router-0", names.LABEL_ROUTER, names.router(), address="10.0.0.1")
        self.counted(0.0)

    def budget(self, dollars: str | None, **more: Any) -> None:
        told = {} if dollars is None else {"budget": {"window": "Day", "maxUSD": dollars, **more}}
        status = self.store.objects[CHAT].get("status", {})
        self.apply("Cascade", "chat", {"modelName": "chat", "tiers": TIERS, **told}, status=status)

    def counted(
        self, dollars: float, *, began_s: float = BEGAN_S, sent: float = 0.0, others: float = 0.0
    ) -> None:
        self.routers.counts["10.0.0.1"] = Counted.of(
            began_s,
            {("chat", "gpt"): dollars, ("chat", "small"): 50.0 + dollars, ("other", "gpt"): 99.0},
            {("chat", "small"): sent, ("other", "small"): others},
        )

    def said(self) -> tuple[str, str]:
        found = {each["type"]: each for each in self.status(CHAT)["conditions"]}
        return found["WithinBudget"]["status"], found["WithinBudget"]["reason"]

    def cost(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status(CHAT)["cost"]
        return found

    def spent(self) -> float:
        value = self.registry.get_sample_value(
            "modelfleet_operator_budget_spent_dollars", {"fleet_namespace": "ns", "cascade": "chat"}
        )
        assert value is not None
        return value


@pytest.fixture
def fleet() -> Paid:
    return Paid()


async def test_hours_and_tokens_are_counted_and_said(fleet: Paid):
    fleet.counted(7.0)
    await fleet.tick()
    assert fleet.spent() == 0.0  # what was spent before the budget was set is another matter

    fleet.counted(9.5)
    await fleet.tick(after_s=3600.0)
    assert fleet.spent() == pytest.approx(3.5)
    assert fleet.cost() == {
        "since": "2026-11-22T12:00:15Z",
        "until": "2026-11-23T00:00:00Z",
        "spentUSD": "3.5",
        "limitUSD": "40",
        "forecastUSD": "41.9854",
        "exhausted": False,
    }
    assert fleet.said() == ("True", "ForecastExceeds")


async def test_without_a_budget_nobody_is_asked_and_nothing_kept(fleet: Paid):
    fleet.budget(None)
    await fleet.tick()

    assert fleet.routers.counting == []
    assert "cost" not in fleet.status(CHAT)
    assert NOTES not in fleet.api.notes


async def test_a_removed_budget_leaves_nothing_behind(fleet: Paid):
    await fleet.tick()
    fleet.budget(None)
    await fleet.loop.rebalance()

    status = fleet.store.writes[-1][1]
    assert "cost" not in status
    assert "WithinBudget" not in {each["type"] for each in status["conditions"]}
    assert (
        fleet.registry.get_sample_value(
            "modelfleet_operator_budget_limit_dollars", {"fleet_namespace": "ns", "cascade": "chat"}
        )
        is None
    )


async def test_exhausted_is_told_once_and_over_with_the_window(fleet: Paid):
    await fleet.tick()
    fleet.counted(39.0)
    for _ in range(3):
        await fleet.tick()
    assert fleet.said() == ("False", "Exhausted")
    assert fleet.cost()["exhausted"]
    assert [(name, reason) for name, reason, _ in fleet.told.events if "Budget" in reason] == [
        ("chat", "BudgetExhausted")
    ]

    await fleet.tick(after_s=12 * 3600.0)
    assert fleet.said()[0] == "True"
    assert not fleet.cost()["exhausted"]
    assert fleet.told.events[-1][1] == "BudgetRenewed"


async def test_more_money_counts_at_once(fleet: Paid):
    await fleet.tick()
    fleet.counted(39.0)
    await fleet.tick()
    fleet.budget("100")
    await fleet.loop.rebalance()

    assert not fleet.cost()["exhausted"]
    assert fleet.cost()["limitUSD"] == "100"


async def test_little_is_written_while_little_is_spent(fleet: Paid):
    await fleet.tick()
    writes, notes = len(fleet.store.writes), fleet.api.writes
    for at in range(40):
        fleet.counted(0.001 * at)
        await fleet.tick()

    assert len(fleet.store.writes) - writes <= 2
    assert fleet.api.writes - notes == int(40 * 15 / WRITE_EVERY_S)


async def stopped(fleet: Paid) -> None:
    running = asyncio.create_task(fleet.loop.run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_another_operator_goes_on_counting(fleet: Paid, how: str):
    """Killed four minutes after it last wrote, it takes nothing with it: routers still know what they counted."""
    await fleet.tick()
    for at in range(1, 36):
        fleet.counted(0.1 * at)
        await fleet.tick()
    before = fleet.spent()
    if how == "stopped":
        await stopped(fleet)
    fleet.loop = fleet.restarted()
    fleet.counted(3.6)
    await fleet.tick()

    assert fleet.spent() == pytest.approx(before + 0.1 + 15 / 3600)


async def test_a_ledger_that_cannot_be_read_is_waited_for(fleet: Paid):
    await fleet.tick()
    fleet.counted(2.0)
    await fleet.tick(after_s=WRITE_EVERY_S)
    shown = fleet.cost()
    fleet.loop = fleet.restarted()
    fleet.store.refuses = True
    await fleet.tick()
    assert fleet.cost() == shown

    fleet.store.refuses = False
    fleet.counted(2.5)
    await fleet.tick()
    assert fleet.spent() == pytest.approx(2.5 + (WRITE_EVERY_S + 30) / 3600)


async def test_a_ledger_of_nonsense_begins_anew(fleet: Paid):
    await fleet.tick()
    fleet.api.notes[NOTES]["data"]["budget.json"] = "{"
    fleet.loop = fleet.restarted()
    await fleet.tick()

    assert fleet.spent() == 0.0


async def test_a_router_that_is_replaced_counts_from_zero(fleet: Paid):
    fleet.counted(5.0)
    await fleet.tick()
    fleet.counted(0.25, began_s=fleet.clock.now + 5)
    await fleet.tick()

    assert fleet.spent() == pytest.approx(0.25 + 15 / 3600)


async def test_a_shared_tier_is_paid_by_requests(fleet: Paid):
    shared = {"modelName": "other", "tiers": TIERS[:1]}
    fleet.apply("Cascade", "other", shared)
    await fleet.tick()
    fleet.counted(0.0, sent=30.0, others=90.0)
    await fleet.tick(after_s=3600.0)

    assert fleet.spent() == pytest.approx(0.25)


PODS: dict[str, tuple[dict[str, Any], float]] = {
    "one that loads": ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}, 2.0),
    "one that found no node": (
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]},
        1.0,
    ),
    "one that was evicted": (
        {"phase": "Failed", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        1.0,
    ),
    "one that runs and is not ready": ({"phase": "Running"}, 2.0),
}


@pytest.mark.parametrize(("status", "want"), PODS.values(), ids=PODS)
async def test_a_pod_costs_while_it_has_a_node(fleet: Paid, status: dict[str, Any], want: float):
    labels = {names.LABEL_TIER: names.tier_child("small")}
    meta = {"namespace": "ns", "name": "small-1", "labels": labels}
    fleet.store.put({"kind": "Pod", "metadata": meta, "status": status})
    await fleet.tick()
    await fleet.tick(after_s=3600.0)

    assert fleet.spent() == pytest.approx(want)


async def test_tiers_without_a_price_are_named(fleet: Paid):
    fleet.respec_tier("small", price=None)
    fleet.respec_tier("gpt", price=None)
    await fleet.tick()

    found = {each["type"]: each for each in fleet.status(CHAT)["conditions"]}["WithinBudget"]
    assert (found["status"], found["reason"]) == ("Unknown", "PriceUnknown")
    assert "small (give spec.price.perReplicaHour, or its node pool a pricePerHour)" in found["message"]
    assert "gpt (give its spec.price)" in found["message"]


async def test_a_node_pool_s_price_will_do(fleet: Paid):
    fleet.settings = FleetSettings.model_validate({"nodePools": {"cpu": {"pricePerHour": "0.5"}}})
    fleet.respec_tier("small", price=None, nodePool={"name": "cpu", "count": 2})
    await fleet.tick()
    await fleet.tick(after_s=3600.0)

    assert fleet.spent() == pytest.approx(1.0)


async def test_less_than_the_least_replicas_cost_is_infeasible(fleet: Paid):
    fleet.budget("10")
    await fleet.tick()

    assert fleet.said() == ("False", "Infeasible")
    found = {each["type"]: each for each in fleet.status(CHAT)["conditions"]}["WithinBudget"]
    assert found["message"].endswith("maxUSD would have to be 24")


async def test_what_is_paused_is_owed_as_it_runs(fleet: Paid):
    fleet.pod("small-1", names.LABEL_TIER, names.tier_child("small"))
    fleet.annotate(SMALL, names.ANNOTATION_PAUSED, "true")
    fleet.budget("40")
    await fleet.tick()

    assert fleet.said() == ("False", "Infeasible")  # two replicas for a day, though one is the minimum


class Bounded(Planned):
    """The planned fleet, whose small tier costs a dollar an hour and whose medium one four."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock.now = NOON
        self.respec_tier("small", price={"perReplicaHour": "1"})
        self.respec_tier("medium", price={"perReplicaHour": "4"})

    def costs(self) -> int:
        small, medium = self.replicas()
        return small + 4 * medium


async def test_a_plan_keeps_to_the_money():
    """60 USD are left for half a day: what the least replicas do not take may go twice as fast as it would last."""
    fleet, bounded = Bounded(), Bounded()
    bounded.cascade(budget={"window": "Day", "maxUSD": "130"})
    for one in (fleet, bounded):
        one.load(rps=14.0)
        for _ in range(8):
            await one.tick()

    allowed = 5 + 2 * (130 - 60) / 12
    assert fleet.costs() > allowed
    assert bounded.costs() <= allowed
    reasons = {bounded.status(key)["conditions"][0]["reason"] for key in (SMALL,)}
    assert reasons == {"FollowsPlan"}
    assert {"learned.json", "decision.json", "budget.json"} == set(bounded.api.notes[NOTES]["data"])


async def test_a_budget_that_pays_changes_no_plan():
    fleet, rich = Bounded(), Bounded()
    rich.cascade(budget={"window": "Day", "maxUSD": "1000000"})
    for at in range(30):
        decided = []
        for one in (fleet, rich):
            one.load(rps=6.0 + 5.0 * ((at * 7) % 11) / 11)
            await one.tick()
            decided.append(one.replicas())
        assert decided[0] == decided[1]


async def test_what_is_kept_of_it_is_small(fleet: Paid):
    await fleet.tick()

    text = fleet.api.notes[NOTES]["data"]["budget.json"]
    assert len(text) < 1000
    assert spending.decode(text).began_s == fleet.clock.now
