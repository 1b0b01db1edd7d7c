"""A replica that comes while the others work, with real sockets: its part of the load, step by step."""

import asyncio
from dataclasses import dataclass, field

from modelfleet.route.warmup import WINDOW_S
from tests.router.rig import GOOD, Peer, Rig, engines, one_tier, post, reply, slices, until


@dataclass
class Gate:
    """An engine that answers when told to, and knows how many it works on."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    working: int = 0

    async def act(self, peer: Peer) -> None:
        self.working += 1
        await self.open.wait()
        self.working -= 1
        await reply(GOOD)(peer)


def _pass(rig: Rig, *, seconds: float) -> None:
    rig.state.sweep(asyncio.get_running_loop().time() + seconds)


async def test_a_new_replica_is_met_by_its_part_and_no_burst():
    old, other, new = Gate(), Gate(), Gate()
    async with (
        one_tier([old.act], [other.act], concurrency=32) as (rig, found),
        engines([new.act]) as (third,),
    ):
        asked = [asyncio.create_task(rig.ask(post())) for _ in range(20)]
        await until(lambda: (old.working, other.working) == (10, 10))
        ports = [*(engine.port for engine in found), third.port]
        rig.state.endpoint_slices_changed(slices({"small-svc": ports}))

        asked += [asyncio.create_task(rig.ask(post())) for _ in range(9)]
        await until(lambda: old.working + other.working + new.working == 29)
        assert new.working == 1  # it would have been all of them

        _pass(rig, seconds=WINDOW_S / 2)
        asked += [asyncio.create_task(rig.ask(post())) for _ in range(9)]
        await until(lambda: old.working + other.working + new.working == 38)
        assert new.working in {7, 8}  # half of what the others have

        _pass(rig, seconds=WINDOW_S)
        asked += [asyncio.create_task(rig.ask(post())) for _ in range(9)]
        await until(lambda: old.working + other.working + new.working == 47)
        assert new.working in {15, 16}  # as busy as they are

        for gate in (old, other, new):
            gate.open.set()
        assert {(await each).status for each in asked} == {200}


async def test_when_the_others_are_full_nobody_waits_for_a_new_one_to_be_warm():
    old, new = Gate(), Gate()
    async with one_tier([old.act], concurrency=4) as (rig, found), engines([new.act]) as (second,):
        asked = [asyncio.create_task(rig.ask(post())) for _ in range(7)]
        await until(lambda: old.working == 4)
        rig.state.endpoint_slices_changed(slices({"small-svc": [found[0].port, second.port]}))
        await until(lambda: new.working == 3)

        old.open.set()
        new.open.set()
        assert {(await each).status for each in asked} == {200}


async def test_a_router_that_begins_knows_no_new_ones():
    one, two = Gate(), Gate()
    async with one_tier([one.act], [two.act], concurrency=32) as (rig, _):
        asked = [asyncio.create_task(rig.ask(post())) for _ in range(8)]
        await until(lambda: (one.working, two.working) == (4, 4))
        one.open.set()
        two.open.set()
        assert {(await each).status for each in asked} == {200}
