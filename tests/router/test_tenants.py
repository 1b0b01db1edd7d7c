"""One tenant's long prompts before a busy tier, and what becomes of the others: R16."""

import asyncio
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from modelfleet.router.keys import KeyRing
from modelfleet.router.metrics import PoolStats
from modelfleet.router.pool import Pool
from modelfleet.router.upstream import Replica
from tests.router.key_mount import Mount, digest
from tests.router.rig import (
    DONE,
    GOOD,
    Answer,
    Engine,
    Peer,
    Rig,
    cascade,
    engines,
    post,
    reply,
    router,
    stream,
    tier,
    token,
    until,
)

LONG = "word " * 80_000  # 100,000 tokens, by the bytes
PAGE = "greedy", "modest"


@dataclass
class Desk:
    """A router with two API keys, before one engine that works when told to."""

    rig: Rig
    engine: Engine
    open: asyncio.Event

    def ask(self, tenant: str, text: str = "hi", **fields: Any) -> asyncio.Task[Answer]:
        messages = [{"role": "user", "content": text}]
        key = f"connection: close\r\nauthorization: Bearer {tenant}-key\r\n"
        return asyncio.create_task(
            self.rig.ask(post(fields=key, **{"messages": messages, "user": tenant, **fields}))
        )

    async def queued(self, count: int) -> None:
        await until(lambda: self.stats.waiting == count)

    @property
    def stats(self) -> PoolStats:
        return self.rig.state.fleet.lines["chat"].steps[0].pool.stats

    def order(self) -> str:
        """Whose requests reached the engine, by the first letter, as they came."""
        return "".join(orjson.loads(peer.body)["user"][0] for peer in self.engine.asked)


def read(tenant: str) -> Any:
    """An answer that tells how long the prompt was."""
    prompt = 100_000 if tenant == "greedy" else 10
    return reply({**GOOD, "usage": {"prompt_tokens": prompt, "completion_tokens": 2}})


@asynccontextmanager
async def desk(path: Path, answer: Callable[[str], Any] = read, *, waiting: int = 40) -> AsyncIterator[Desk]:
    mount, gate = Mount(path), asyncio.Event()
    mount.write(**{one: {"sha256": digest(f"{one}-key")} for one in PAGE})
    ring = KeyRing(str(path), now=lambda: 0.0)

    async def act(peer: Peer) -> None:
        await gate.wait()
        await answer(orjson.loads(peer.body)["user"])(peer)

    async with engines([act]) as (engine,):
        route = cascade(tier("small", weight=1000, concurrency=1, waiting=waiting))
        async with router(route, {"small-svc": [engine.port]}, keys=ring) as rig:
            yield Desk(rig, engine, gate)


async def test_long_prompts_of_one_do_not_keep_the_others_waiting(tmp_path: Path):
    async with desk(tmp_path) as at:
        long = [at.ask("greedy", LONG) for _ in range(12)]
        await at.queued(11)
        short = [at.ask("modest") for _ in range(10)]
        await at.queued(21)
        assert at.stats.tenants == 2
        at.open.set()
        answers = await asyncio.gather(*long, *short)

        # One that was there before them, and one as nobody had been given anything yet: then theirs is the turn.
        assert at.order() == "gg" + "m" * 10 + "g" * 10
        assert {answer.status for answer in answers} == {200}
        assert (at.stats.waiting, at.stats.tenants, at.stats.displaced) == (0, 0, 0)


async def test_a_full_line_is_not_one_tenants(tmp_path: Path):
    async with desk(tmp_path, waiting=0) as at:
        greedy = [at.ask("greedy") for _ in range(17)]
        await at.queued(16)
        modest = [at.ask("modest") for _ in range(3)]
        await until(lambda: at.stats.displaced == 3)
        at.open.set()
        told, served = await asyncio.gather(*greedy), await asyncio.gather(*modest)

        assert [answer.status for answer in served] == [200] * 3
        refused = [answer for answer in told if answer.status != 200]
        assert {(answer.status, answer.error["code"]) for answer in refused} == {(429, "busy")}
        assert len(refused) == 3
        assert all("retry-after" in answer.headers for answer in refused)


USED = {
    "a whole answer": lambda used: reply({**GOOD, "usage": used}),
    "a stream": lambda used: stream(
        token("a"), b"data: " + orjson.dumps({"choices": [], "usage": used}) + b"\n\n", DONE
    ),
}


@pytest.mark.parametrize("said", USED.values(), ids=USED)
async def test_long_answers_count_when_they_are_told(tmp_path: Path, said: Callable[[Any], Any]):
    used = {"greedy": 10_000, "modest": 10}

    def answer(tenant: str) -> Any:
        return said({"prompt_tokens": 10, "completion_tokens": used[tenant]})

    async with desk(tmp_path, answer) as at:
        streamed = said is USED["a stream"]
        asked = [at.ask("greedy", stream=streamed)]
        await until(lambda: len(at.engine.asked) == 1)
        # They look alike, until the answers tell.
        asked += [at.ask(name, stream=streamed) for _ in range(6) for name in PAGE]
        await at.queued(12)
        at.open.set()
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}

        assert at.order() == "gg" + "m" * 6 + "g" * 5


@dataclass(eq=False)
class Ask:
    """A request in a world whose time only passes from event to event."""

    tenant: str
    size: int
    came_s: float
    hold_s: float
    charged: float = 0.0
    began_s: float | None = None
    place: Replica | None = None
    lost: bool = False
    began: Callable[["Ask"], None] = field(default=lambda _: None, repr=False)

    def admitted(self, replica: Replica) -> None:
        self.place = replica
        self.began(self)

    def turned_away(self, _why: str) -> None:
        self.lost = True


class World:
    """A tier with eight places for ordinary requests, and 32 clients of one tenant that always want a long one.

    Ordinary: 2 s each.  Long: 100,000 tokens, 11 s.
    """

    def __init__(self, *, per_s: float, flood: bool, apart: bool) -> None:
        self._dice = random.Random(1)
        self._events: list[tuple[float, int, Ask]] = []
        self._count = itertools.count()
        self._now_s, self._per_s, self._flood, self._apart = 0.0, per_s, flood, apart
        self.pool = Pool(PoolStats(("ns", "t")), external=False, spin=lambda: 0.0)
        loop = asyncio.new_event_loop()
        self.pool.update([Replica("127.0.0.1", 1, loop=loop)], concurrency=8, per_replica=64, now_s=0.0)
        loop.close()

    def waits_p99_s(self) -> float:
        """How long ordinary requests waited for a place, over some 4,000 of them."""
        ordinary: list[Ask] = []
        for _ in range(32 if self._flood else 0):
            self._add("greedy", 400_000, 0.0, 11.0)
        comes_s = 0.0
        while len(ordinary) < 4_000:
            comes_s += self._dice.expovariate(self._per_s)
            ordinary.append(self._add("modest", 800, comes_s, 0.2 + self._dice.expovariate(1 / 1.8)))
        while self._events and self._now_s < comes_s:
            self._now_s, _, ask = heapq.heappop(self._events)
            self._turn(ask)
        waits = sorted(ask.began_s - ask.came_s for ask in ordinary if ask.began_s is not None)
        return waits[int(0.99 * len(waits))]

    def _add(self, tenant: str, size: int, came_s: float, hold_s: float) -> Ask:
        ask = Ask(tenant if self._apart else "", size, came_s, hold_s, began=self._began)
        heapq.heappush(self._events, (came_s, next(self._count), ask))
        return ask

    def _turn(self, ask: Ask) -> None:
        if ask.place is None:
            found = self.pool.enter(
                ask, (), fields={}, turn=0, now_s=self._now_s, deadline_s=self._now_s + 600.0
            )
            if isinstance(found, Replica):
                ask.admitted(found)
            ask.lost = isinstance(found, str)
        else:
            self.pool.leave(ask.place, "Answered", since_s=ask.began_s or 0.0, now_s=self._now_s)
        if ask.size > 1000 and (ask.place is not None or ask.lost) and ask.began_s != self._now_s:
            self._add("greedy", ask.size, self._now_s + 0.5, ask.hold_s)

    def _began(self, ask: Ask) -> None:
        ask.began_s = self._now_s
        heapq.heappush(self._events, (self._now_s + ask.hold_s, next(self._count), ask))


def test_others_wait_at_most_twice_as_long_on_a_busy_tier():
    alone = World(per_s=3.6, flood=False, apart=True).waits_p99_s()
    beside = World(per_s=3.6, flood=True, apart=True).waits_p99_s()
    unfair = World(per_s=3.6, flood=True, apart=False).waits_p99_s()

    assert beside <= 2 * alone
    assert unfair > 4 * beside, "the world shows what the line is for"


def test_others_wait_for_no_more_than_a_place_on_an_idle_tier():
    beside = World(per_s=1.0, flood=True, apart=True).waits_p99_s()

    assert beside <= 11.0, "a long request is not stopped, and the next free place is not another's"
