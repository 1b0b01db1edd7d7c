"""Bytes that nobody wrote, on both sides of the router.  What was ever found is a row of corpus/ by now."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import h11
import orjson
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet.route import call
from modelfleet.route.refusal import Refusal, Refused
from modelfleet.router import message
from modelfleet.router.message import Request
from modelfleet.router.server import Client, Server
from tests.router.corpus_rows import ANSWERS, BODIES, BODY, REQUESTS, body, data
from tests.router.rig import PATIENCE_S, Close, Peer, Rig, one_tier, post
from tests.router.wire import Wire

SEEDS = [data(row["sent"]) for row in REQUESTS.values() if len(row["sent"]) < 2000]
TOKENS = [
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b"\x0b", b"\x80", b":", b",", b";", b"0", b"5", b"-", b"+", b"x", b'"',
    b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"content-length: 5\r\n", b"content-length: 0\r\n",
    b"transfer-encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"connection: close\r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n", b"expect: 100-continue\r\n", b"host: r\r\n", b"HTTP/1.0", b"HTTP/1.1",
    b"GET /v1/models HTTP/1.1\r\nhost: r\r\n\r\n", BODY,
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes], tokens: list[bytes]) -> bytes:
    """One of the seeds, after some accidents."""
    made = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(made)))
        match draw(st.sampled_from(["insert", "replace", "cut", "double", "join"])):
            case "insert":
                made = made[:at] + draw(st.sampled_from(tokens)) + made[at:]
            case "replace":
                made = made[:at] + draw(st.binary(min_size=1, max_size=2)) + made[at + 1 :]
            case "cut":
                made = made[:at] + made[at + draw(st.integers(1, 12)) :]
            case "double":
                lines = made.split(b"\r\n")
                line = draw(st.integers(0, len(lines) - 1))
                made = b"\r\n".join([*lines[:line], lines[line], *lines[line:]])
            case _:
                made += draw(st.sampled_from(seeds))
    return made


@dataclass(frozen=True)
class Read:
    """A request as somebody read it."""

    method: bytes
    path: bytes
    body: bytes


def ours(sent: bytes, piece: int) -> tuple[list[Read], list[Refusal], bytes]:
    """The requests that we find in these bytes, what we refuse, and all that we answer."""
    loop = asyncio.new_event_loop()
    served: list[Read] = []
    refused: list[Refusal] = []

    def serve(client: Client, request: Request) -> None:
        served.append(Read(request.method, request.path, request.body))
        client.reply(200, b"{}")

    server = Server(serve, loop=loop, body_bytes_max=lambda: 100_000, on_refused=refused.append)
    client, wire = server.connection(), Wire()
    client.connection_made(wire)  # type: ignore[arg-type]
    for at in range(0, len(sent), piece):
        client.data_received(sent[at : at + piece])
        loop.run_until_complete(asyncio.sleep(0))
    client.connection_lost(None)
    loop.close()
    return served, refused, wire.sent


def theirs(sent: bytes) -> tuple[list[Read], str]:
    """The requests that another reader, written from the standard, finds; and why it stops."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    reader.receive_data(sent)
    found: list[Read] = []
    head: h11.Request | None = None
    body = b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None and head.method != b"CONNECT":
                found.append(Read(head.method, message.path(head.target), body))
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
                    return found, "close"
                reader.start_next_cycle()
            else:
                return found, "more"
    except h11.RemoteProtocolError as err:
        return found, str(err)


@given(damaged(SEEDS, TOKENS), st.sampled_from([1, 7, 1 << 20]))
@settings(max_examples=200, deadline=None)
def test_whatever_we_read_another_reads_alike(sent: bytes, piece: int):
    served, refused, said = ours(sent, piece)
    found, why = theirs(sent)

    both = min(len(served), len(found))
    assert served[:both] == found[:both]
    # We may refuse more.  Where the other refuses more, it is about how the words of a first line are parted.
    assert len(served) <= len(found) or why.startswith(("illegal request line", "no request line"))
    assert len(refused) <= 1
    answers = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", said) if status != b"100"]
    assert answers == [200] * len(served) + [refusal.status for refusal in refused]


# Engines.

ANSWER_SEEDS = [body(row["sent"]) for row in ANSWERS.values() if "*" not in row["sent"]]
ANSWER_TOKENS = [
    b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"0", b"9", b"-", b"\n\n", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"HTTP/1.0", b"204", b"500",
    b"content-type: text/event-stream\r\n", b"content-type: application/json\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"data: [DONE]\n\n", b"data: {}\n\n", b'data: {"error":{}}\n\n', b": a\n\n", b"data:", b'"usage"', b'"error"', b'"abort"',
]  # fmt: skip
# Of one connection, of one host, or ours: an engine's must not come through.
OURS_ALONE = frozenset({"set-cookie", "upgrade", "trailer", "keep-alive", "alt-svc", "server"})


class Stage:
    """A router over one engine that says what a test puts into its mouth."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.says: list[bytes] = []
        self._stack = AsyncExitStack()

    async def open(self) -> Rig:
        rig, _ = await self._stack.enter_async_context(one_tier([self._say]))
        return rig

    async def _say(self, peer: Peer) -> None:
        with suppress(RuntimeError):  # uvloop's word for a router that has left already
            for piece in self.says:
                peer.writer.write(piece)
                await asyncio.sleep(0)
        raise Close

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Stage, Rig]]:
    made = Stage()
    with made.runner:
        yield made, made.runner.run(made.open())
        made.runner.run(made.close())


async def heard(rig: Rig, *, stream: bool) -> bytes:
    """All that a client gets for one request."""
    reader, writer = await rig.connect()
    writer.write(post(stream=stream))
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    except ConnectionError:
        return b"reset"  # where the end of the connection would have been the end of the answer
    finally:
        writer.close()


@given(damaged(ANSWER_SEEDS, ANSWER_TOKENS), st.booleans(), st.sampled_from([1 << 20, 5]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_engine_says_a_client_hears_http(
    stage: tuple[Stage, Rig],
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    stream: bool,  # noqa: FBT001 - drawn
    piece: int,
):
    made, rig = stage
    made.says = [sent[at : at + piece] for at in range(0, len(sent), piece)]
    came = made.runner.run(heard(rig, stream=stream))

    answer, complete = heard_by_another(came)
    step = rig.state.fleet.lines["chat"].steps[0]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert (step.stats.in_flight, step.pool.replicas[0].in_flight) == (0, 0)
    assert not OURS_ALONE & {name.decode() for name, _ in answer.headers}
    if (
        complete
        and answer.status_code == 200
        and b"text/event-stream" in dict(answer.headers)[b"content-type"]
    ):
        assert b"[DONE]" in came
        assert b"[DONE]" in sent


def heard_by_another(came: bytes) -> tuple[h11.Response, bool]:
    """The answer's head as a reader written from the standard reads it, and whether the answer ended."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="POST", target="/", headers=[("host", "r")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(came)
    head = reader.next_event()
    assert isinstance(head, h11.Response)
    while True:
        event = reader.next_event()
        if isinstance(event, h11.EndOfMessage):
            assert reader.trailing_data[0] == b""
            return head, True
        if event is h11.NEED_DATA:
            return head, False


# Bodies.

BODY_SEEDS = [body(row["sent"]) for row in BODIES.values() if len(row["sent"]) < 2000]
BODY_TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"-", b"+", b".", b"e", b"E9", b"0", b"1e400", b"NaN", b"\\u0000", b"\\ud800",
    b"\\ude00", b"\\u0022", b"\xff", b"\xed\xa0\x80", b"\0", b"\n", b" ", b"//", b'"model":"chat",', b'"stream":true,', b"null",
    b"18446744073709551616", b"[" * 260, b"]" * 260,
]  # fmt: skip


@given(damaged(BODY_SEEDS, BODY_TOKENS))
@settings(max_examples=300, deadline=None)
def test_whatever_body_we_take_another_reads_alike(sent: bytes):
    try:
        ours = call.parse(sent)
        written = ours.encoded("served")
    except Refused:
        return

    # Beyond 64 bits an integer is read as a float, as JavaScript does with smaller ones.
    found = json.loads(sent, object_pairs_hook=once, parse_int=narrow)
    assert ours.fields == found
    assert orjson.loads(written) == {**found, "model": "served", **streamed(ours)}


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The outermost object is the last one, and in it no field may come twice; in others the last one counts.
    assert "model" not in dict(pairs) or len(dict(pairs)) == len(pairs)
    return dict(pairs)


def narrow(digits: str) -> int | float:
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(digits)


def streamed(asked: call.Call) -> dict[str, Any]:
    if not asked.stream:
        return {}
    return {"stream_options": {**(asked.fields.get("stream_options") or {}), "include_usage": True}}
