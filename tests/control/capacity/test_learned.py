"""What plans have learned, through restarts, absences and outages: live, in a fleet in memory."""

import asyncio
from dataclasses import replace

import pytest

from modelfleet.control.ports import Key
from modelfleet.plan import learned
from modelfleet.plan.learned import Shown
from modelfleet.plan.load import TierLoad
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import CHAT, SMALL
from tests.control.capacity.planned import Planned, learned_of, notes


@pytest.fixture
def fleet() -> Planned:
    return Planned()


def swing(fleet: Planned, at: int) -> None:
    fleet.load(rps=6.0 + 5.0 * ((at * 7) % 11) / 11)


async def test_what_was_learned_is_written_now_and_then(fleet: Planned):
    for _ in range(41):
        await fleet.tick()

    assert fleet.api.writes == 3  # at once, and every five minutes of ten
    assert notes(fleet)["metadata"]["ownerReferences"][0]["uid"] == "uid-chat"
    assert set(notes(fleet)["data"]) == {"learned.json", "decision.json"}


@pytest.mark.parametrize("cut", [1, 9, 30])
async def test_a_restarted_operator_decides_as_the_old_one_would(cut: int):
    staying, restarted = Planned(), Planned()
    decided: dict[str, list[tuple[int, int]]] = {"staying": [], "restarted": []}
    for at in range(60):
        if at == cut:
            running = asyncio.create_task(restarted.loop.run())
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            restarted.loop = restarted.restarted()
        for name, one in (("staying", staying), ("restarted", restarted)):
            swing(one, at)
            await one.tick()
            decided[name].append(one.replicas())

    assert decided["restarted"] == decided["staying"]
    assert len(set(decided["staying"])) > 2


async def test_without_the_notes_it_waits(fleet: Planned):
    await fleet.tick()
    before = fleet.replicas()
    fleet.store.refuses = True
    fleet.loop = fleet.restarted()
    fleet.load(rps=20.0)
    await fleet.tick()
    assert fleet.replicas() == before

    fleet.store.refuses = False
    await fleet.tick()
    assert fleet.replicas() > before


async def test_after_a_long_absence_the_source_knows_better(fleet: Planned):
    fleet.load(rps=20.0)
    for _ in range(21):
        await fleet.tick()
    fleet.loop = fleet.restarted()
    fleet.load(rps=1.0)
    before = fleet.replicas()
    await fleet.tick(after_s=7200.0)
    assert fleet.replicas() == before  # nobody looked, so nobody knows what the load asked for

    for _ in range(25):
        await fleet.tick()
    assert fleet.replicas() < before
    assert set(learned_of(fleet).state.rates_rps) == {1.0}


async def test_a_cascade_that_joins_inherits_what_was_learned(fleet: Planned):
    fleet.load(rps=6.0)
    for _ in range(30):
        await fleet.tick()
    known = learned_of(fleet).state.rates_rps
    first = {**fleet.store.objects[CHAT]["spec"], "modelName": "a"}
    fleet.apply("Cascade", "a-first", first)
    load = fleet.prometheus.answer
    assert load is not None
    quiet = replace(load.cascades[Name("ns", "chat")], arrived=0.0, counts=(0.0,) * 40)
    fleet.prometheus.answer = replace(load, cascades={**load.cascades, Name("ns", "a-first"): quiet})
    await fleet.tick()
    kept = fleet.api.notes[Key("ConfigMap", "ns", "a-first-cascade-plan")]["data"]["learned.json"]

    assert len(learned.decode(kept).state.rates_rps) > len(known)


async def test_a_plan_that_begins_shrinks_nothing_before_its_window(fleet: Planned):
    fleet.store.objects[SMALL]["status"] = {"desiredReplicas": 8}
    fleet.ready("small", 8)
    fleet.load(rps=1.0)
    for _ in range(19):
        await fleet.tick()
    assert fleet.replicas()[0] == 8

    for _ in range(3):
        await fleet.tick()
    assert fleet.replicas()[0] < 8


async def test_an_outage_proves_nothing_about_the_load(fleet: Planned):
    """Back from a blind time as long as the window, the plan has not seen what the load asked for in it."""
    fleet.store.objects[SMALL]["status"] = {"desiredReplicas": 8}
    fleet.ready("small", 8)
    fleet.load(rps=8.0)
    for _ in range(30):
        await fleet.tick()
    before = fleet.replicas()[0]
    fleet.load(rps=8.0, age_s=300.0)
    for _ in range(30):
        await fleet.tick()
    fleet.load(rps=1.0)
    for _ in range(10):
        await fleet.tick()

    assert before > 1
    assert fleet.replicas()[0] == before
    for _ in range(15):
        await fleet.tick()
    assert fleet.replicas()[0] < before


async def test_a_configmap_of_somebody_else_is_left_alone(fleet: Planned):
    theirs = {"kind": "ConfigMap", "metadata": {"name": "chat-cascade-plan", "namespace": "ns"}, "data": {}}
    fleet.api.notes[Key("ConfigMap", "ns", "chat-cascade-plan")] = theirs
    for _ in range(30):
        await fleet.tick()

    assert fleet.api.writes == 0
    assert fleet.condition(SMALL) == ("True", "FollowsPlan")


async def test_broken_notes_are_no_reason_to_stop(fleet: Planned):
    await fleet.tick()
    notes(fleet)["data"]["learned.json"] = "{"
    fleet.loop = fleet.restarted()
    await fleet.tick()

    assert fleet.condition(SMALL) == ("True", "FollowsPlan")


async def test_each_tier_keeps_what_its_own_answers_were_like(fleet: Planned):
    """A tier that has never answered is planned with its neighbour's lengths, and does not take them for its own."""
    load = fleet.prometheus.answer
    assert load is not None
    silent = TierLoad(age_s=3.0, routers=1, in_flight=0.0)
    fleet.prometheus.answer = replace(load, tiers={**load.tiers, Name("ns", "medium"): silent})
    await fleet.tick()

    assert learned_of(fleet).shown == {"small": Shown(200.0, 100.0, 2.0), "medium": Shown()}
