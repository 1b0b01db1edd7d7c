"""The world of one load test: engines that do as their requests say, and the API server that the router watches.

A request's own fields say what becomes of it: `delay_ms`: answered after that time; `idle_s`: a stream for
so long of one event in 15 s; `flood`: a stream without end, as fast as it is taken; else as for the benchmark's engine.
"""

import argparse
import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import uvloop

from bench.router import answers, engine
from modelfleet import names
from modelfleet.api.route_table import CascadeRoute, RouteTable, TierRoute, encode

MODEL = "bench"
TABLE = names.route_table(names.SHARED_ROUTER)
FLOOD_EVENT_BYTES = 10_000
FLOOD_EVENTS = 16  # at a time
IDLE_GAP_S = 15.0  # half of what the router takes for an engine that is stuck
_FIELD = re.compile(rb'"(delay_ms|idle_s|flood)": ?(\d+)')


def table(
    weights: Mapping[str, int], *, concurrency: int = 4096, waiting: int = 16, deadline_s: float = 120.0
) -> dict[str, Any]:
    """A route table with one tier for each weight in permille."""
    tiers = tuple(
        TierRoute(
            name=name,
            model_tier=name,
            served_name=f"{name}-model",
            weight_permille=weight,
            timeout_s=60.0,
            service=name,
            external=None,
            concurrency=concurrency,
            waiting=waiting,
        )
        for name, weight in weights.items()
    )
    return encode(RouteTable((CascadeRoute("bench", MODEL, deadline_s, 1 << 21, tiers),)))


class Plane(engine.World):
    """The API server's objects."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tables: dict[str, Any]) -> None:
        super().__init__(loop, (0, 0), tables)
        self.endpoints: dict[str, tuple[int, ...]] = {}
        self.written: str | None = None  # instead of the table
        self._control: asyncio.Server | None = None
        self.control = 0
        self._connections: set[asyncio.BaseTransport] = set()

    async def start(self) -> None:
        """Serve, on the port of before if there is one."""
        self._control = await self.loop.create_server(lambda: Control(self), "127.0.0.1", self.control)
        self.control = self._control.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """As if the machine were gone: no port, no connection."""
        if self._control is not None:
            self._control.close()
        for connection in list(self._connections):
            connection.abort()  # type: ignore[attr-defined]
        self.watchers = []

    def write(self, text: str | dict[str, Any]) -> None:
        """Write the ConfigMap: a table, or whatever text."""
        self.written = text if isinstance(text, str) else None
        if isinstance(text, dict):
            self.tables[TABLE] = text
        self._push(TABLE)

    def config_map(self, name: str) -> dict[str, Any]:
        found = super().config_map(name)
        if self.written is not None:
            found["data"] = {names.ROUTE_TABLE_KEY: self.written}
        return found

    def slices(self) -> list[dict[str, Any]]:
        return [_slice(service, port) for service, ports in self.endpoints.items() for port in ports]

    def serve(self, service: str, *ports: int) -> None:
        """These are the ready endpoints of a Service now, one slice each."""
        before = set(self.endpoints.get(service, ()))
        self.endpoints[service] = ports
        self.version += 1
        events = [("DELETED", port) for port in before - set(ports)]
        events += [("ADDED", port) for port in set(ports) - before]
        for kind, port in events:
            found = _slice(service, port)
            found["metadata"]["resourceVersion"] = str(self.version)
            event = json.dumps({"type": kind, "object": found}).encode() + b"\n"
            for watched, transport in self.watchers:
                if watched == "slices":
                    transport.write(b"%x\r\n%b\r\n" % (len(event), event))


def _slice(service: str, port: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{service}-{port}", "labels": {names.LABEL_SERVICE: service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }


class Control(engine.Control):
    """One connection to the API server."""

    world: Plane

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.world._connections.add(transport)  # noqa: SLF001 - its own connections

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.world._connections.discard(self.transport)  # noqa: SLF001


class Work:
    """What one engine has to do, and has done."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        self.open: set[asyncio.BaseTransport] = set()
        self.flooded: Counter[int] = Counter()  # bytes, by stream


class Engine(engine.Engine):
    """One connection to an engine."""

    def __init__(self, world: engine.World, work: Work) -> None:
        super().__init__(world, work.port)
        self._work = work
        self._flood = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._work.open.add(transport)

    def asked(self, head: bytes, body: bytes) -> None:
        self._work.asked += 1
        told = {name.decode(): int(value) for name, value in _FIELD.findall(body)}
        if "delay_ms" in told:
            self._later(told["delay_ms"] / 1000, head, body)
        elif "idle_s" in told:
            self.transport.write(answers.STREAM_HEAD)
            self._idle(answers.Events(self._work.asked, logprob=None), told["idle_s"])
        elif "flood" in told:
            self._flood = self._work.asked
            self.transport.write(answers.STREAM_HEAD)
            self.resume_writing()
        else:
            super().asked(head, body)

    def _idle(self, events: answers.Events, left_s: float) -> None:
        if left_s > 0:
            self.transport.write(events.token(0.0))
            self._timer = self.world.loop.call_later(IDLE_GAP_S, self._idle, events, left_s - IDLE_GAP_S)
        else:
            self.transport.write(events.end(1, usage=True))

    def _later(self, seconds: float, head: bytes, body: bytes) -> None:
        answer = super().asked
        self._timer = self.world.loop.call_later(seconds, lambda: answer(head, body))

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._pour()

    def _pour(self) -> None:
        """Write until the transport has enough."""
        event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * FLOOD_EVENT_BYTES)
        data = b"%x\r\n%b\r\n" % (len(event), event)
        for _ in range(FLOOD_EVENTS):
            if self._full or not self._flood or self.transport.is_closing():
                return
            self.transport.write(data)
            self._work.flooded[self._flood] += len(data)
        self.world.loop.call_soon(self._pour)

    def connection_lost(self, exc: Exception | None) -> None:
        self._work.open.discard(self.transport)
        self._flood = 0
        super().connection_lost(exc)


async def engines(world: engine.World, count: int) -> list[Work]:
    """So many engines, each on a port of its own."""
    started = [Work() for _ in range(count)]
    for work in started:
        server = await world.loop.create_server(
            lambda work=work: Engine(world, work),  # type: ignore[misc]
            "127.0.0.1",
            0,
            backlog=4096,
        )
        work.port = server.sockets[0].getsockname()[1]
        world.served[work.port] = 0
    return started


async def _alone() -> None:
    """One engine as a process of its own: it needs as many file descriptors as the clients do."""
    world = engine.World(asyncio.get_running_loop(), (0, 0), {})
    (work,) = await engines(world, 1)
    print(work.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    uvloop.run(_alone())
