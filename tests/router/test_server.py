"""What may come in: the form of messages, their limits, and connections that behave badly."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.refusal import Refusal
from modelfleet.router import server as limits
from modelfleet.router.message import Request
from modelfleet.router.server import Client
from tests.router.rig import GOOD, PATIENCE_S, Rig, hang, one_tier, post, read_answer, reply, until
from tests.router.wire import Wire

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\n"
BODY = b'{"model":"chat","messages":[]}'

REFUSED = {
    "length and chunks": (HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400),
    "two equal lengths": (HEAD + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello", 400),
    "signed length": (HEAD + b"content-length: +5\r\n\r\nhello", 400),
    "unknown coding": (HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "compressed chunks": (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "folded header": (HEAD + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n", 400),
    "space before colon": (HEAD + b"content-length : 5\r\n\r\nhello", 400),
    "bare line feeds": (HEAD.replace(b"\r\n", b"\n") + b"content-length: 5\n\nhello", 400),
    "two hosts": (HEAD + b"host: other\r\ncontent-length: 0\r\n\r\n", 400),
    "no host": (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 400),
    "HTTP/2 in clear": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "null in a header": (HEAD + b"x: a\0b\r\n\r\n", 400),
    "bad chunk size": (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
    "too large by its length": (HEAD + b"content-length: 99999999\r\n\r\n", 413),
    "too large as it comes": (HEAD + b"transfer-encoding: chunked\r\n\r\n200000\r\n" + b"x" * 0x200000, 413),
    "one endless header": (HEAD + b"x: " + b"a" * 70_000, 431),
    "many headers": (HEAD + b"x: y\r\n" * 200 + b"\r\n", 431),
}


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED.values(), ids=REFUSED)
async def test_refused_by_form(request_bytes: bytes, status: int):
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        answer = await rig.ask(request_bytes)

        assert answer.status == status
        assert set(answer.error) == {"message", "type", "param", "code"}
        assert answer.headers["connection"] == "close"
        assert not engine.asked


UNDERSTOOD = {
    "chunked body": HEAD
    + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nx-trailer: y\r\n\r\n" % (len(BODY), BODY),
    "absolute target": HEAD.replace(b"POST ", b"POST http://r")
    + b"content-length: %d\r\n\r\n" % len(BODY)
    + BODY,
    "offer to upgrade": HEAD
    + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    + b"content-length: %d\r\n\r\n" % len(BODY)
    + BODY,
    "HTTP/1.0": b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY,
}


@pytest.mark.parametrize("request_bytes", UNDERSTOOD.values(), ids=UNDERSTOOD)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
async def test_understood_in_pieces_of_any_size(request_bytes: bytes, piece: int):
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        for at in range(0, len(request_bytes), piece):
            writer.write(request_bytes[at : at + piece])
            await writer.drain()
            await asyncio.sleep(0)

        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_client_that_waits_for_a_go_ahead_gets_it():
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        writer.write(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)

        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_old_client_gets_no_interim_answer():
    async with one_tier([reply(GOOD)]) as (rig, _):
        old = post(fields="expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")

        assert (await rig.ask(old)).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/nowhere"])
async def test_head_is_answered_without_a_body(path: str):
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        for method in ("HEAD", "GET"):
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: r\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        answer = await read_answer(reader)  # the next one begins where the head ended
        writer.close()

        assert int(head.split()[1]) == answer.status
        assert f"content-length: {len(answer.body)}\r\n" in head


async def test_pipelined_requests_are_answered_in_order():
    async with one_tier([reply({**GOOD, "id": number}) for number in range(8)]) as (rig, (engine,)):
        reader, writer = await rig.connect()
        writer.write(b"".join(post(fields="", user=str(number)) for number in range(8)))
        answers = [await read_answer(reader) for _ in range(8)]
        writer.close()

        assert [f'"id":{number}' in answer.body.decode() for number, answer in enumerate(answers)] == [
            True
        ] * 8
        assert [f'"user":"{number}"' in peer.body.decode() for number, peer in enumerate(engine.asked)] == [
            True
        ] * 8


async def test_garbage_after_a_request_never_answers_in_its_name():
    async with one_tier([hang()]) as (rig, (engine,)):
        reader, writer = await rig.connect()
        writer.write(post(fields=""))
        await until(lambda: len(engine.asked) == 1)
        writer.write(b"garbage\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
            await engine.asked[0].gone.wait()
        writer.close()


async def test_old_client_may_keep_its_connection():
    request = (
        b"POST /v1/chat/completions HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: %d\r\n\r\n"
        % len(BODY)
    )
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        for _ in range(2):
            writer.write(request + BODY)
            answer = await read_answer(reader)
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
        writer.close()


SLOW = {
    "headers": HEAD,
    "body": HEAD + b"content-length: 10\r\n\r\n{",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
async def test_request_that_does_not_arrive_is_given_up(sent: bytes):
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        writer.write(sent)
        await until(lambda: any(client._request is not None for client in rig.server.crowd.clients))
        _let_time_pass(rig, limits.BODY_S_MAX + 1)

        assert (await read_answer(reader)).status == 408
        writer.close()


async def test_idle_connection_is_closed_without_a_word():
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        await until(lambda: len(rig.server.crowd.clients) == 1)
        _let_time_pass(rig, limits.IDLE_S_MAX + 1)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()


async def test_draining_answers_say_that_the_connection_ends():
    async with one_tier([reply(GOOD)]) as (rig, _):
        rig.server.draining = True
        answer = await rig.ask(post(fields=""))

        assert (answer.status, answer.headers["connection"]) == (200, "close")


WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
PARTS = [
    HEAD,
    WHOLE,
    BODY,
    b"\r\n",
    b"\n",
    b"\0",
    b"content-length: 9\r\n",
    b"transfer-encoding: chunked\r\n",
]
PARTS += [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"GET / HTTP/1.1\r\n",
    b"host: r\r\n",
]


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=8), max_size=12))
def test_any_bytes_are_requests_or_refused(pieces: list[bytes]):
    loop = asyncio.new_event_loop()
    served: list[Request] = []
    refused: list[Refusal] = []

    def serve(client: Client, request: Request) -> None:
        served.append(request)
        client.reply(200, b"{}")

    server = limits.Server(serve, loop=loop, body_bytes_max=lambda: 1000, on_refused=refused.append)
    client, wire = server.connection(), Wire()
    client.connection_made(wire)  # type: ignore[arg-type]
    for piece in pieces:
        client.data_received(piece)
    client.connection_lost(None)
    loop.close()

    answers = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", wire.sent) if status != b"100"]
    assert answers == [200] * len(served) + [refusal.status for refusal in refused]
    assert len(refused) <= 1
    assert all(request.version in {"1.0", "1.1"} and len(request.body) <= 1000 for request in served)


def _let_time_pass(rig: Rig, seconds: float) -> None:
    rig.server.crowd.sweep(asyncio.get_running_loop().time() + seconds)
