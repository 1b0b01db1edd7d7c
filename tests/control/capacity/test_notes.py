"""Notes are written by one hand, seldom, and only where they are ours."""

import asyncio
from dataclasses import replace

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.control.capacity import notes as capacity_notes
from modelfleet.control.capacity.notes import WRITE_EVERY_S, Notes
from modelfleet.control.ports import Key
from modelfleet.plan import planner
from modelfleet.plan.fleet import Planned, Planning
from modelfleet.plan.group import Group
from modelfleet.plan.learned import Learned
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import Api, Store, Watch
from tests.make import cascade
from tests.plan.calm_look import CALM, STEADY

NAME = Name("models", "chat")
CHAT: Cascade = cascade("chat")
KEY = Key("ConfigMap", "models", "chat-cascade-plan")


def planned() -> Planned:
    found, state = planner.plan(CALM, STEADY, planner.Settings())
    group = Group(NAME, (NAME,), (Name("models", "small"), Name("models", "big")), pooled=True)
    return Planned(Planning(group, CALM, STEADY, planner.Settings()), found, state)


async def test_what_is_written_is_read_by_the_next_one():
    api, clock, done = Api(Store()), Watch(), planned()
    notes = Notes(api, clock)
    assert await notes.read(NAME, CHAT) == Learned()
    known = Learned(done.state, ("small", "big"))
    notes.keep(NAME, CHAT, known, done)
    assert notes.due(NAME)
    await notes.write(NAME)

    assert not notes.due(NAME)
    assert await Notes(api, clock).read(NAME, CHAT) == known


async def test_what_the_api_server_refuses_is_written_later():
    api, clock = Api(Store()), Watch()
    notes = Notes(api, clock)
    await notes.read(NAME, CHAT)
    notes.keep(NAME, CHAT, Learned(), planned())
    api.refuses_notes = True
    await notes.write()
    assert api.notes == {}

    api.refuses_notes = False
    await notes.hand_over()
    assert KEY in api.notes


async def test_a_stopping_operator_writes_what_it_has_not():
    api, clock = Api(Store()), Watch()
    notes = Notes(api, clock)
    await notes.read(NAME, CHAT)
    notes.keep(NAME, CHAT, Learned(), planned())
    await notes.write(NAME)
    clock.now += WRITE_EVERY_S / 2
    notes.keep(NAME, CHAT, Learned(tiers=("later",)), planned())
    assert not notes.due(NAME)
    await notes.hand_over()

    assert (await Notes(api, clock).read(NAME, CHAT)).tiers == ("later",)


def taken(api: Api, clock: Watch, *owners: str) -> Notes:
    notes = Notes(api, clock)
    for owner in owners:
        notes.keep(Name("models", owner), cascade(owner), Learned(tiers=(owner,)), planned())
    return notes


def written(api: Api) -> list[str]:
    return sorted(key.name for key in api.notes)


async def test_a_bug_in_one_plan_leaves_the_others_written():
    api, clock = Api(Store()), Watch()
    notes = taken(api, clock, "a", "c")
    broken = replace(planned(), plan=None)  # type: ignore[arg-type]  # a bug
    notes.keep(Name("models", "b"), cascade("b"), Learned(tiers=("b",)), broken)
    await notes.hand_over()

    assert written(api) == ["a-cascade-plan", "b-cascade-plan", "c-cascade-plan"]
    # And of its own note what can be told is kept.
    assert (await Notes(api, clock).read(Name("models", "b"), cascade("b"))).tiers == ("b",)


class Hangs(Api):
    """An API server that answers nothing about some objects."""

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        if manifest["metadata"]["name"].startswith("slow"):
            await asyncio.Event().wait()
        if manifest["metadata"]["name"].startswith("odd"):
            raise RuntimeError("no error of ours")
        return await super().apply(manifest, manager=manager)


async def test_one_that_hangs_leaves_the_others_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capacity_notes, "_WRITE_S_MAX", 0.05)
    api, clock = Hangs(Store()), Watch()
    fast = [f"fast-{at}" for at in range(20)]
    notes = taken(api, clock, "odd", *(f"slow-{at}" for at in range(20)), *fast)
    await notes.hand_over()

    assert written(api) == sorted(f"{name}-cascade-plan" for name in fast)
