"""A router with real sockets on both sides: scripted engines behind it, byte-level clients before it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from modelfleet import names
from modelfleet.api.route_table import (
    CascadeRoute,
    ExternalTarget,
    RouterRules,
    RouteTable,
    TierRoute,
    encode,
)
from modelfleet.router.bodies import Bodies
from modelfleet.router.keys import KeyRing
from modelfleet.router.metrics import RouterMetrics
from modelfleet.router.recorder import OFF, Recorder
from modelfleet.router.secrets import Secrets
from modelfleet.router.server import Server
from modelfleet.router.service import Service
from modelfleet.router.state import State

PATIENCE_S = 10.0
RULES = RouterRules()
ROUTER = names.SHARED_ROUTER
LOOPBACK = ("127.0.0.0/8", "::1/128")


# Engines.


@dataclass
class Peer:
    """One connection to a scripted engine."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes = b""
    body: bytes = b""
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Act = Callable[[Peer], Awaitable[None]]


class Close(Exception):
    """The engine ends the connection."""


@dataclass
class Engine:
    """Answers its requests with its acts, one after the other; the last one goes on for ever."""

    acts: Sequence[Act]
    asked: list[Peer] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                peer = Peer(reader, writer, head, await reader.readexactly(length))
                self.asked.append(peer)
                await self.acts[min(len(self.asked), len(self.acts)) - 1](peer)
        except (Close, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for peer in self.asked:
                if peer.writer is writer:
                    peer.gone.set()
            writer.close()


def reply(body: Any, *, status: int = 200, kind: str = "application/json", fields: str = "") -> Act:
    """A whole answer with its length."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)

    async def act(peer: Peer) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{fields}Content-Length: {len(data)}\r\n\r\n"
        await peer.send(head.encode() + data)

    return act


def raw(*pieces: bytes) -> Act:
    """These bytes, then the end of the connection."""

    async def act(peer: Peer) -> None:
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(0)
        raise Close

    return act


def hang(*pieces: bytes) -> Act:
    """These bytes, then silence until the router leaves."""

    async def act(peer: Peer) -> None:
        for piece in pieces:
            await peer.send(piece)
        await peer.reader.read()
        raise Close

    return act


SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*events: bytes) -> Act:
    """A whole SSE answer, one chunk per event."""

    async def act(peer: Peer) -> None:
        await peer.send(SSE_HEAD)
        for event in events:
            await peer.send(chunk(event))
        await peer.send(b"0\r\n\r\n")

    return act


def token(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"
GOOD_STREAM = (token("a"), token("b"), USAGE, DONE)
GOOD = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}


# Clients.


@dataclass
class Answer:
    """What a client saw.  `complete`: it ended as HTTP says an answer ends."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)["error"]
        return found


def post(
    body: Any = None,
    *,
    path: str = "/v1/chat/completions",
    fields: str = "connection: close\r\n",
    **more: Any,
) -> bytes:
    """The bytes of a request; by default a small plain one that wants the connection closed."""
    ask = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **more}
    data = body if isinstance(body, bytes) else orjson.dumps(ask if body is None else body)
    return f"POST {path} HTTP/1.1\r\nhost: r\r\n{fields}content-length: {len(data)}\r\n\r\n".encode() + data


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One answer from a connection."""
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        body, complete = await _read_body(reader, headers)
        return Answer(status, headers, body, complete)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[bytes, bool]:
    body = b""
    try:
        if "content-length" in headers:
            return await reader.readexactly(int(headers["content-length"])), True
        if headers.get("transfer-encoding") != "chunked":
            return await reader.read(), True
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            data = (await reader.readexactly(size + 2))[:-2]
            if not size:
                return body, True
            body += data
    except asyncio.IncompleteReadError as err:
        return body + err.partial, False


# The router between them.


@dataclass
class Rig:
    """A running router."""

    state: State
    port: int
    server: Server
    bodies: Bodies

    async def ask(self, request: bytes) -> Answer:
        """Send one request on its own connection."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            return await read_answer(reader)
        finally:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


def tier(
    name: str,
    *,
    weight: int = 0,
    timeout_s: float = 5.0,
    external: ExternalTarget | None = None,
    **more: Any,
) -> TierRoute:
    return TierRoute(
        name=name,
        model_tier=f"{name}-mt",
        served_name=f"{name}-served",
        weight_permille=weight,
        timeout_s=timeout_s,
        service=None if external else f"{name}-svc",
        external=external,
        **more,
    )


def cascade(
    *tiers: TierRoute, deadline_s: float = 8.0, max_body_bytes: int = 1 << 20, **more: Any
) -> CascadeRoute:
    return CascadeRoute("c", "chat", deadline_s, max_body_bytes, tiers, **more)


def config_map(table: RouteTable, *, version: str = "1") -> dict[str, Any]:
    name = names.route_table(ROUTER)
    # Our external tiers are on loopback, where none may be unless it is allowed.
    rules = replace(table.rules, external_allow=table.rules.external_allow or LOOPBACK)
    data = {names.ROUTE_TABLE_KEY: orjson.dumps(encode(replace(table, rules=rules))).decode()}
    return {name: {"metadata": {"name": name, "resourceVersion": version}, "data": data}}


def slices(ports: dict[str, list[int]], *, ready: bool = True) -> dict[str, Any]:
    """One EndpointSlice per replica, as each has its own port here."""
    return {
        f"{service}-{port}": {
            "metadata": {"name": f"{service}-{port}", "labels": {names.LABEL_SERVICE: service}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}],
        }
        for service, found in ports.items()
        for port in found
    }


@asynccontextmanager
async def engines(*all_acts: Sequence[Act]) -> AsyncIterator[list[Engine]]:
    """Scripted engines on loopback, each with its acts."""
    started: list[tuple[Engine, asyncio.Server]] = []
    try:
        for acts in all_acts:
            engine = Engine(acts)
            server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
            engine.port = server.sockets[0].getsockname()[1]
            started.append((engine, server))
        yield [engine for engine, _ in started]
    finally:
        for engine, server in started:
            server.close()
            for peer in engine.asked:
                peer.writer.close()


@asynccontextmanager
async def router(
    route: CascadeRoute,
    ports: dict[str, list[int]],
    *,
    spin: float | Callable[[], float] = 0.0,
    keys: KeyRing | None = None,
    rules: RouterRules = RULES,
    recorder: Recorder = OFF,
) -> AsyncIterator[Rig]:
    """A router that serves one cascade."""
    loop = asyncio.get_running_loop()
    state = State(
        metrics=RouterMetrics("ns"),
        secrets=Secrets(),
        loop=loop,
        router=ROUTER,
        keys=keys,
        recorder=recorder,
    )
    state.config_maps_changed(config_map(RouteTable((route,), rules)), now_s=1.0)
    state.endpoint_slices_changed(slices(ports))
    service = Service(state, loop=loop, spin=spin if callable(spin) else lambda: spin)
    server = Server(
        service.on_request, loop=loop, body_bytes_max=service.body_bytes_max, on_refused=service.on_refused
    )
    listening = await loop.create_server(server.connection, "127.0.0.1", 0)
    try:
        yield Rig(state, listening.sockets[0].getsockname()[1], server, service.bodies)
    finally:
        listening.close()
        for client in list(server.crowd.clients):
            client.cut()


@asynccontextmanager
async def one_tier(*all_acts: Sequence[Act], **limits: Any) -> AsyncIterator[tuple[Rig, list[Engine]]]:
    """A router over one tier with a replica per list of acts."""
    kept = {
        name: limits.pop(name)
        for name in ("timeout_s", "concurrency", "waiting", "prefix_characters", "context_tokens")
        if name in limits
    }
    async with engines(*all_acts) as found:
        route = cascade(tier("small", weight=1000, **kept), **limits)
        async with router(route, {"small-svc": sorted(engine.port for engine in found)}) as rig:
            yield rig, found


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition, not for a time."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - the condition is of another task's making
            await asyncio.sleep(0.005)
