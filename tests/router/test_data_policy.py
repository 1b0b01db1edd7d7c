"""Private data stays inside, whatever breaks: real sockets, engines that fail at random, an API that writes all down."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest

from modelfleet.api.route_table import OVERFLOWS, AcceptRule, DataRule, ExternalTarget, OverflowRule
from tests.router.rig import (
    DONE,
    GOOD,
    SSE_HEAD,
    USAGE,
    Act,
    Close,
    Peer,
    Rig,
    cascade,
    chunk,
    post,
    read_answer,
    router,
    tier,
)

REQUESTS = 5_000  # of each of the two cascades
CLIENTS = 40
SEED = 20261122
FAULTS = 0.2
TIMEOUT_S = 0.15
CANARY = "canary-7f3a"  # in every private prompt, and in nothing else
SONG = "song-of-all"  # in every public one

RULE = AcceptRule("MeanLogprob", -0.5)
POLICY = DataRule("x-modelfleet-data-class", ("private", "health"), ("public",), "LocalOnly")
PRIVATE = (
    "x-modelfleet-data-class: private\r\n",
    "X-MODELFLEET-DATA-CLASS: PRIVATE\r\n",
    "x-modelfleet-data-class: public\r\nx-modelfleet-data-class: private\r\n",
    "x-modelfleet-data-class: health\r\nx-modelfleet-data-class: public\r\n",
    "x-modelfleet-data-class: public, private\r\n",
    "x-modelfleet-data-class:\tprivate \r\n",
    "x-modelfleet-data-class: public,\r\n",
    'x-modelfleet-data-class: "public"\r\n',
    "x-modelfleet-data-class: publicc\r\n",
    "x-modelfleet-data-class:\r\n",
    "",
    "x-modelfleet-data-class: private\r\nx-modelfleet-tier: vendor\r\n",
    "x-modelfleet-data-class: private\r\nx-modelfleet-min-tier: frontier\r\n",
    "x-modelfleet-data-class: private\r\nx-modelfleet-min-tier: medium\r\n",
)
PUBLIC = "x-modelfleet-data-class: public\r\n"


def _token(text: str, logprob: float) -> bytes:
    told = {"content": [{"token": text, "logprob": logprob}]}
    choice = {"index": 0, "delta": {"content": text}, "logprobs": told, "finish_reason": None}
    return b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"


def _answer(logprob: float, finish: str) -> bytes:
    told = {"content": [{"token": "a", "logprob": logprob}]}
    choice = {
        **GOOD["choices"][0], "logprobs": told, "finish_reason": finish,
    }  # fmt: skip
    return orjson.dumps({**GOOD, "choices": [choice]})


def _http(status: int, body: bytes, fields: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass
class Chaos:
    """An engine whose every answer is drawn: good, unsure, refused, cut, hanging."""

    draw: random.Random
    seen: bytearray = field(default_factory=bytearray)  # every byte that it ever got
    ends: Counter[str] = field(default_factory=Counter)
    external: bool = False
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.seen += head
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.seen += body
                await self._act(Peer(reader, writer, head, body))
        except (Close, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _act(self, peer: Peer) -> None:
        # Mostly well, so that it is not taken out.  An API that asks to be left alone would be.
        faults = ("500", "die", "half", "hang", "400", "abort", *(() if self.external else ("429", "503")))
        kind = (
            self.draw.choice(faults) if self.draw.random() < FAULTS else self.draw.choice(("sure", "unsure"))
        )
        self.ends[kind] += 1
        streamed = orjson.loads(peer.body).get("stream", False)
        acts: dict[str, Act] = {"die": _die, "hang": _hang, "half": _half_stream if streamed else _half}
        if act := acts.get(kind):
            await act(peer)
        elif kind.isdigit():
            error = orjson.dumps({"error": {"message": "no", "type": "x", "param": None, "code": int(kind)}})
            await peer.send(_http(int(kind), error, "Retry-After: 0\r\n"))
        else:
            await self._good(peer, kind, streamed=streamed)

    async def _good(self, peer: Peer, kind: str, *, streamed: bool) -> None:
        logprob = -0.1 if kind == "sure" else -3.0
        if not streamed:
            await peer.send(_http(200, _answer(logprob, "abort" if kind == "abort" else "stop")))
            return
        await peer.send(SSE_HEAD + b"".join(chunk(_token("a", logprob)) for _ in range(4)))
        await peer.send(chunk(USAGE) + chunk(DONE) + b"0\r\n\r\n")


async def _die(peer: Peer) -> None:
    peer.writer.transport.abort()
    raise Close


async def _hang(peer: Peer) -> None:
    await peer.reader.read()
    raise Close


async def _half(peer: Peer) -> None:
    await peer.send(_http(200, _answer(-0.1, "stop"))[:-9])
    raise Close


async def _half_stream(peer: Peer) -> None:
    await peer.send(SSE_HEAD + chunk(_token("a", -0.1)) + chunk(_token("b", -0.1))[:-9])
    raise Close


@asynccontextmanager
async def _fleet(
    draw: random.Random, overflow: OverflowRule | None
) -> AsyncIterator[tuple[Rig, list[Chaos], list[Chaos]]]:
    """Two local tiers of three replicas, and two APIs: one between them, one above them."""
    inside = [Chaos(draw) for _ in range(6)]
    outside = [Chaos(draw, external=True) for _ in range(2)]
    servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0) for one in (*inside, *outside)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    vendor, frontier = (ExternalTarget(f"http://127.0.0.1:{port}/v1", None, None) for port in ports[6:])
    route = cascade(
        tier("small", weight=500, accept=RULE, engine="vllm", timeout_s=TIMEOUT_S, concurrency=2, waiting=4),
        tier("vendor", weight=150, accept=RULE, external=vendor, timeout_s=TIMEOUT_S),
        tier("medium", weight=200, accept=RULE, engine="vllm", timeout_s=TIMEOUT_S, concurrency=2, waiting=4),
        tier("frontier", weight=150, external=frontier, timeout_s=TIMEOUT_S),
        deadline_s=1.0,
        max_escalations=2,
        hold_tokens=2,
        data=POLICY,
        overflow=overflow,
        choose_tier=True,
        choose_floor=True,
    )
    try:
        async with router(route, {"small-svc": ports[:3], "medium-svc": ports[3:6]}, spin=draw.random) as rig:
            yield rig, inside, outside
    finally:
        for server in servers:
            server.close()
        for engine in (*inside, *outside):
            for writer in engine.open:
                writer.close()


def _request(draw: random.Random, number: int) -> bytes:
    private = draw.random() < 0.8
    fields = draw.choice(PRIVATE) if private else PUBLIC
    text = f"{CANARY if private else SONG}-{number}"
    more = {"stream": True} if draw.random() < 0.5 else {}
    if draw.random() < 0.2:
        more |= {"max_tokens": 16}
    path = "/v1/chat/completions" if draw.random() < 0.8 else "/v1/completions"
    return post(path=path, fields=fields, messages=[{"role": "user", "content": text}], prompt=text, **more)


async def _client(rig: Rig, requests: list[bytes], draw: random.Random, statuses: Counter[int]) -> None:
    """Sends its requests over one connection for as long as that lives; now and then it leaves without its answer."""
    reader, writer = await rig.connect()
    while requests:
        writer.write(requests.pop())
        if draw.random() < 0.02:
            statuses[0] += 1
            complete = False
        else:
            answer = await read_answer(reader)
            statuses[answer.status] += 1
            complete = answer.complete and answer.headers.get("connection") != "close"
        if not complete:
            writer.close()
            reader, writer = await rig.connect()
    writer.close()


@pytest.mark.parametrize("overflow", [None, OverflowRule(OVERFLOWS, 100)], ids=["fallback", "overflow"])
async def test_ten_thousand_faults_leak_nothing(overflow: OverflowRule | None):
    draw = random.Random(SEED)
    async with _fleet(draw, overflow) as (rig, inside, outside):
        requests = [_request(draw, number) for number in range(REQUESTS)]
        statuses: Counter[int] = Counter()
        await asyncio.gather(*(_client(rig, requests, draw, statuses) for _ in range(CLIENTS)))
        home, away = b"".join(one.seen for one in inside), b"".join(one.seen for one in outside)

        assert away.count(CANARY.encode()) == 0
        # And it was not for want of trying: private data was asked for, failed, went elsewhere; public data left.
        assert sum(statuses.values()) == REQUESTS
        assert home.count(CANARY.encode()) > REQUESTS / 2
        assert away.count(SONG.encode()) > REQUESTS / 20
        assert statuses[200] > REQUESTS / 3
        assert statuses[403] > REQUESTS / 20
        steps = rig.state.fleet.lines["chat"].steps
        assert sum(sum(step.stats.escalated.values()) for step in steps) > REQUESTS / 50
        # Over all tiers, as a replica that is out for its failures gets few requests.
        outcomes = {outcome for step in steps for outcome in step.stats.attempts}
        assert {"Answered", "Escalated", "Status5xx", "Reset", "Timeout"} <= outcomes
        ends = sum((one.ends for one in inside), Counter[str]())
        assert min(ends[kind] for kind in ("500", "503", "429", "die", "half", "hang", "400")) > 0
