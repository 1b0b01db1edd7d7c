"""The stand-in upstream, one process: two engines that cost almost nothing, and the API server that our router watches.

Port 1 is the small tier and port 2 the big one; both answer alike, except that where log probabilities are asked for
every fifth answer of the small one is doubtful.  The control port lists and watches route tables, flips their weights
and tells what was seen.  A request's `seed` says how its stream goes: thousands are tokens, the rest is milliseconds
between two.
"""

import argparse
import asyncio
import json
import re
import time
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import uvloop

from bench.router import answers

DOUBTFUL_EVERY = 5
FLIP_S_MAX = 2.0  # one that is not seen by then is lost
SEED = 50_020  # where a proxy drops it

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SEED = re.compile(rb'"seed": ?(\d+)')
_STREAM = re.compile(rb'"stream": ?true')
_LOGPROBS = re.compile(rb'"logprobs": ?(?:true|[1-9])')
_USAGE = re.compile(rb'"include_usage": ?true')


class World:
    """What all connections share."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ports: tuple[int, int], tables: dict[str, Any]
    ) -> None:
        self.loop = loop
        self.ports = ports
        self.tables = tables  # by ConfigMap name
        self.version = 1
        self.watchers: list[tuple[str, asyncio.Transport]] = []
        self.served = dict.fromkeys(ports, 0)
        self.scored = 0
        self.streams = 0
        self.closed: dict[
            str, float
        ] = {}  # id of a stream that nobody reads any more -> when that was noticed
        self.flips: list[dict[str, float | None]] = []
        self._awaited: int | None = None  # the port that a flip turned to and that has not been asked yet
        self._left: int | None = None

    def seen(self, port: int) -> None:
        self.served[port] += 1
        if self._awaited is None or not self.flips:
            return
        now_s = time.monotonic()
        flip = self.flips[-1]
        if port == self._awaited and flip["first_ms"] is None:
            flip["first_ms"] = (now_s - cast("float", flip["at"])) * 1000
        elif port == self._left:
            flip["last_ms"] = (now_s - cast("float", flip["at"])) * 1000

    def doubtful(self, port: int) -> bool:
        if port != self.ports[0]:
            return False
        self.scored += 1
        return self.scored % DOUBTFUL_EVERY == 0

    def config_map(self, name: str) -> dict[str, Any]:
        meta = {"name": name, "resourceVersion": str(self.version)}
        return {"metadata": meta, "data": {"table.json": json.dumps(self.tables[name])}}

    def slices(self) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": port}],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            }
            for service, port in zip(("small", "big"), self.ports, strict=True)
        ]

    async def flip(self, name: str, times: int, pause_s: float) -> None:
        """Turn all entries from one tier to the other and back, again and again."""
        before = json.dumps(self.tables[name])
        self.flips = []
        for number in range(times):
            to = 1 - number % 2
            for index, tier in enumerate(self.tables[name]["cascades"][0]["tiers"]):
                tier["weight_permille"] = 1000 if index == to else 0
            self._awaited, self._left = self.ports[to], self.ports[1 - to]
            self.flips.append({"at": time.monotonic(), "first_ms": None, "last_ms": None})
            self._push(name)
            await asyncio.sleep(pause_s)
            until = time.monotonic() + FLIP_S_MAX
            while self.flips[-1]["first_ms"] is None and time.monotonic() < until:  # noqa: ASYNC110 - rarely needed
                await asyncio.sleep(pause_s)
        self._awaited = None
        self.tables[name] = json.loads(before)
        self._push(name)

    def _push(self, name: str) -> None:
        self.version += 1
        event = json.dumps({"type": "MODIFIED", "object": self.config_map(name)}).encode() + b"\n"
        for watched, transport in self.watchers:
            if watched == name:
                transport.write(b"%x\r\n%b\r\n" % (len(event), event))


class Connection(asyncio.Protocol):
    """Cuts requests out of the bytes; no parser, as it knows all its clients."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._buffer, 0, end + 2)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < whole:
                return
            head, body = self._buffer[:end], self._buffer[end + 4 : whole]
            self._buffer = self._buffer[whole:]
            self.asked(head, body)

    def asked(self, head: bytes, body: bytes) -> None:
        raise NotImplementedError

    def say(self, value: object) -> None:
        data = json.dumps(value).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
        self.transport.write(head + data)


class Engine(Connection):
    """One connection to an engine."""

    def __init__(self, world: World, port: int) -> None:
        super().__init__(world)
        self._port = port
        self._plain = answers.plain(port, logprob=None)
        self._sure = answers.plain(port, logprob=answers.CONFIDENT)
        self._doubt = answers.plain(port, logprob=answers.DOUBTFUL)
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def asked(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self.say({"object": "list", "data": [{"id": "bench", "object": "model"}], "status": "ok"})
            return
        self.world.seen(self._port)
        logprob = None
        if _LOGPROBS.search(body):
            logprob = answers.DOUBTFUL if self.world.doubtful(self._port) else answers.CONFIDENT
        if _STREAM.search(body):
            self._stream(body, logprob)
        elif logprob is None:
            self.transport.write(self._plain)
        else:
            self.transport.write(self._sure if logprob == answers.CONFIDENT else self._doubt)

    def _stream(self, body: bytes, logprob: float | None) -> None:
        seed = _SEED.search(body)
        self._tokens, gap_ms = divmod(int(seed[1]) if seed else SEED, 1000)
        self._left = self._tokens
        self._interval_s = gap_ms / 1000
        self._usage = _USAGE.search(body) is not None
        self._number = self.world.streams = self.world.streams + 1
        self._events = answers.Events(self._number, logprob=logprob)
        self._due_s = self.world.loop.time()
        self.transport.write(answers.STREAM_HEAD)
        self._next()

    def _next(self) -> None:
        self.transport.write(self._events.token(time.monotonic()))
        self._left -= 1
        if self._left:
            self._due_s += self._interval_s
            self._timer = self.world.loop.call_at(self._due_s, self._next)
        else:
            self._timer = None
            self._number = 0
            self.transport.write(self._events.end(self._tokens, usage=self._usage))

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._number:
            self.world.closed[str(self._number)] = time.monotonic()


class Control(Connection):
    """The API server's lists and watches, and the questions of the bench."""

    def asked(self, head: bytes, _body: bytes) -> None:
        url = urlsplit(head.split(b" ", 2)[1].decode())
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        world = self.world
        if url.path.endswith("/configmaps"):
            name = query["fieldSelector"].removeprefix("metadata.name=")
            self._objects(query, [world.config_map(name)], name)
        elif url.path.endswith("/endpointslices"):
            self._objects(query, list(world.slices()), "slices")
        elif url.path == "/flip":
            task = world.loop.create_task(
                world.flip(query["table"], int(query["times"]), float(query["pause_s"]))
            )
            task.add_done_callback(lambda _: self.say(world.flips))
        elif url.path == "/closed":
            self.say(world.closed)
        else:
            self.say(world.served)

    def _objects(self, query: dict[str, str], items: list[dict[str, Any]], name: str) -> None:
        if "watch" not in query:
            self.say({"metadata": {"resourceVersion": str(self.world.version)}, "items": items})
            return
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self.world.watchers.append((name, self.transport))

    def connection_lost(self, _exc: Exception | None) -> None:
        self.world.watchers = [each for each in self.world.watchers if each[1] is not self.transport]


async def serve(ports: tuple[int, int], control: int, tables: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    world = World(loop, ports, tables)
    for port in ports:
        await loop.create_server(lambda port=port: Engine(world, port), "127.0.0.1", port, backlog=4096)  # type: ignore[misc]
    await loop.create_server(lambda: Control(world), "127.0.0.1", control)
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, nargs=2, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--tables", required=True, help="JSON: route tables by ConfigMap name")
    args = parser.parse_args()
    uvloop.run(serve(tuple(args.ports), args.control, json.loads(args.tables)))


if __name__ == "__main__":
    main()
