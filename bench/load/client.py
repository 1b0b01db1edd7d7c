"""Clients that count: what they got, how long it took, and which tier it came from."""

import asyncio
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.figures import Figure
from bench.router import load

PROMPT_BYTES = 200
_TIER = re.compile(rb"\r\nx-modelfleet-tier: (\w+)\r\n")
_HEAD_BYTES = 1000
OPEN_MAX = 4000  # of one load: beyond it the machine is too slow for the measurement, and not the router


@dataclass
class Seen:
    """What happened to some requests.  Times are of the monotonic clock, in seconds."""

    ended_s: list[tuple[float, float]] = field(
        default_factory=list
    )  # good ones: when, and how long they took
    refused_s: list[tuple[float, float]] = field(default_factory=list)  # 429 and 503: the same
    tiers: list[tuple[float, str]] = field(default_factory=list)  # of the good ones: when asked, who answered
    failed: Counter[str] = field(default_factory=Counter)  # all others, by what they were
    unsent: int = 0  # the load could not be made: too many were open
    stale: int = 0  # asked again, as a kept-alive connection was closed before a byte of the answer came
    open: int = 0

    @property
    def took_ms(self) -> list[float]:
        return [took * 1000 for _, took in self.ended_s]


class Connection(load.Connection):
    """A kept-alive connection that keeps the head of its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = b""
        self.answers = 0
        self.closed = False

    def ask(self, data: bytes, done: Callable[[load.Connection, bool], None]) -> None:
        self.head = b""
        super().ask(data, done)

    def data_received(self, data: bytes) -> None:
        if len(self.head) < _HEAD_BYTES:
            self.head += data[:_HEAD_BYTES]
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        super().connection_lost(exc)

    @property
    def status(self) -> str:
        return self.head[9:12].decode() or "none"

    @property
    def stays(self) -> bool:
        return not self.closed and b"connection: close" not in self.head


class Clients:
    """Asks one port, and keeps connections as HTTP clients do."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen = Seen()
        self._idle: list[Connection] = []

    async def one(self, request: bytes) -> None:
        """One request to its end."""
        self.seen.open += 1
        try:
            await self._one(request)
        finally:
            self.seen.open -= 1

    async def _one(self, request: bytes) -> None:
        began_s = time.monotonic()
        connection: Connection | None = None
        while self._idle and (connection is None or connection.closed):
            connection = self._idle.pop()
        if connection is None or connection.closed:
            try:
                connection = await self._connect()
            except OSError as err:
                self.seen.failed[f"connect: {type(err).__name__}"] += 1
                return
        reused = connection.answers > 0
        good = await _answer(connection, request)
        if reused and not good and not connection.head:
            # RFC 9110 lets a client ask again on a fresh connection, and all do.
            self.seen.stale += 1
            connection = await self._connect()
            good = await _answer(connection, request)
        self._note(connection, began_s, good=good)

    async def _connect(self) -> Connection:
        return (await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port))[1]

    def _note(self, connection: Connection, began_s: float, *, good: bool) -> None:
        now_s = time.monotonic()
        if good:
            self.seen.ended_s.append((now_s, now_s - began_s))
            found = _TIER.search(connection.head)
            self.seen.tiers.append((began_s, found[1].decode() if found else ""))
        elif connection.status in {"429", "503"}:
            self.seen.refused_s.append((now_s, now_s - began_s))
        else:
            self.seen.failed[connection.status] += 1
        connection.answers += 1
        if connection.stays:
            self._idle.append(connection)
        else:
            connection.transport.close()

    async def paced(self, rate: float, seconds: float, request: bytes) -> None:
        """Arrivals of a Poisson process, whether or not the earlier ones are answered; returns when all are."""
        clock = random.Random(1)  # noqa: S311 - arrivals, the same ones in every run
        async with asyncio.TaskGroup() as group:
            due_s = time.monotonic()
            until_s = due_s + seconds
            while due_s < until_s:
                due_s += clock.expovariate(rate)
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                if self.seen.open >= OPEN_MAX:
                    self.seen.unsent += 1
                    continue
                group.create_task(self.one(request))

    async def steady(self, count: int, seconds: float, request: bytes) -> None:
        """So many clients that ask again as soon as they are answered."""
        until_s = time.monotonic() + seconds

        async def ask() -> None:
            while time.monotonic() < until_s:
                await self.one(request)

        await asyncio.gather(*(ask() for _ in range(count)))

    def close(self) -> None:
        for connection in self._idle:
            connection.transport.abort()


async def _answer(connection: Connection, request: bytes) -> bool:
    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    if connection.closed:
        return False

    def done(_: load.Connection, good: bool) -> None:  # noqa: FBT001 - the connection's way
        if not answered.done():
            answered.set_result(good)

    connection.ask(request, done)
    return await answered


def failures(name: str, all_seen: Sequence[Seen], *, refused: bool = False) -> Figure:
    """Requests that failed, and as what; with `refused`, those too that were refused."""
    kinds: Counter[str] = Counter()
    for seen in all_seen:
        kinds += seen.failed
        if refused:
            kinds["refused"] += len(seen.refused_s)
    count, good = (+kinds).total(), sum(len(seen.ended_s) for seen in all_seen)
    why = ", ".join(f"{kind}: {number}" for kind, number in (+kinds).items())
    return Figure(name, count, count, count, f"of {good + count} requests", "<= 0", count == 0, why or None)


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.floor(len(ordered) * share))] if ordered else math.nan
