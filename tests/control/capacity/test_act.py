"""What was decided is written in an order, and what could not be written has not happened."""

import pytest
from prometheus_client import CollectorRegistry

from modelfleet.control.capacity.act import Hand, Pass
from modelfleet.control.capacity.memory import Memory, Store
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.capacity.observe import Observed, snapshot
from modelfleet.plan.fleet import plan
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import CHAT, SMALL, Fleet

TIER, CASCADE = Name("ns", "small"), Name("ns", "chat")


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.in_flight(19.0)
    return fleet


async def carried_out(fleet: Fleet) -> Memory:
    """One pass over a busy fleet, on what the loop would see."""
    store = Store(fleet.store, on_invalid=lambda _key, err: pytest.fail(str(err)))
    memory = Memory()
    assert fleet.prometheus.answer is not None
    seen = Observed(
        now_s=fleet.clock.now,
        tiers=store.tiers(),
        cascades=store.cascades(),
        load=fleet.prometheus.answer,
        load_taken_s=fleet.clock.now,
        source="Answers",
    )
    taken = snapshot(seen, fleet.store, memory)
    hand = Hand(
        fleet.api, fleet.told, store=store, memory=memory, instruments=CapacityMetrics(CollectorRegistry())
    )
    await hand.carry_out(Pass(seen, taken, plan(taken), {}), tiers=[TIER])
    return memory


async def test_weights_are_written_before_replicas(fleet: Fleet):
    memory = await carried_out(fleet)

    assert [key for key, _ in fleet.store.writes] == [CHAT, SMALL]
    assert {name for name, _, _ in fleet.told.events} == {"small", "chat"}
    assert memory.tiers[TIER].changes[-1].by > 0
    assert memory.cascades[CASCADE].weights_spec


async def test_what_is_refused_is_neither_remembered_nor_told(fleet: Fleet):
    fleet.store.refuses = True
    memory = await carried_out(fleet)

    assert memory.tiers[TIER].changes == ()
    assert fleet.told.events == []
