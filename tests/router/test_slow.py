"""Clients that send or read too slowly, too much at once, or not at all; and engines that wait for nobody's answer."""

import asyncio
import socket
from typing import Any

import pytest

from modelfleet.route import patience
from modelfleet.router import crowd
from modelfleet.router import server as limits
from modelfleet.router.message import add_piece
from modelfleet.router.server import Client
from tests.router.rig import (
    DONE,
    GOOD,
    GOOD_STREAM,
    SSE_HEAD,
    Peer,
    Rig,
    chunk,
    hang,
    one_tier,
    post,
    read_answer,
    reply,
    stream,
    token,
    until,
)

LARGE = {**GOOD, "padding": "x" * (3 << 20)}  # more than all socket buffers of a client that reads nothing
HALF_BODY = b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: 500000\r\n\r\n"


def _let_time_pass(rig: Rig, seconds: float) -> None:
    rig.server.crowd.sweep(asyncio.get_running_loop().time() + seconds)


def _clients(rig: Rig) -> list[Client]:
    return [client for client in rig.server.crowd.clients if isinstance(client, Client)]


async def _connect_small(rig: Rig) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client whose kernel takes little for it."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.setblocking(False)  # noqa: FBT003
    await asyncio.get_running_loop().sock_connect(found, ("127.0.0.1", rig.port))
    reader, writer = await asyncio.open_connection(sock=found, limit=1024)
    return reader, writer


# Readers.


async def test_second_request_of_a_client_that_does_not_read_waits():
    async with one_tier([reply(LARGE), stream(*GOOD_STREAM)]) as (rig, (engine,)):
        reader, writer = await _connect_small(rig)
        writer.write(post(fields=""))
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        await until(lambda: stats.answered == 1)
        writer.write(post(fields="", stream=True))
        await until(lambda: any(client._queue for client in _clients(rig)))
        assert len(engine.asked) == 1

        assert (await read_answer(reader)).complete
        assert (await read_answer(reader)).complete
        assert len(engine.asked) == 2
        # What the first client has not read is no matter of the engine's connection, which it no longer uses.
        assert stats.attempts["Timeout"] == 0
        writer.close()


async def test_reader_that_takes_nothing_more_is_given_up():
    async with one_tier([reply(LARGE)]) as (rig, _):
        _, writer = await _connect_small(rig)
        writer.transport.pause_reading()
        writer.write(post())
        await until(lambda: rig.state.fleet.lines["chat"].steps[0].stats.answered == 1)
        _let_time_pass(rig, limits.LINGER_S + 1)  # it gets the time to show that it reads
        assert _clients(rig)
        _let_time_pass(rig, limits.LINGER_S + limits.STALL_S_MAX + 1)

        await until(lambda: not _clients(rig))
        writer.close()


async def test_reader_that_takes_a_little_is_waited_for():
    async with one_tier([reply(LARGE)]) as (rig, _):
        reader, writer = await _connect_small(rig)
        writer.write(post())
        await until(lambda: rig.state.fleet.lines["chat"].steps[0].stats.answered == 1)
        passed_s, got = limits.LINGER_S + 1, 0
        for _ in range(5):
            _let_time_pass(rig, passed_s)
            got += len(await reader.readexactly(100_000))
            passed_s += limits.STALL_S_MAX + 1

        assert len(_clients(rig)) == 1
        assert len(await reader.read()) > 0
        writer.close()


async def test_answer_that_its_client_held_back_tells_nothing_of_its_engine():
    pieces = [token("x" * 10_000)] * 400
    async with one_tier([stream(*pieces, DONE)]) as (rig, _):
        reader, writer = await _connect_small(rig)
        writer.transport.pause_reading()
        writer.write(post(stream=True))
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        await until(lambda: bool(rig.server.crowd._unread))
        assert stats.answered == 0
        writer.transport.resume_reading()

        assert (await read_answer(reader)).complete
        assert sum(stats.first_token.counts) == 1
        assert sum(stats.answer_inter_token.counts) == 0


async def test_unread_answers_together_are_bounded():
    async with one_tier([reply(LARGE)]) as (rig, _):
        writers = []
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        for number in range(4):
            _, writer = await _connect_small(rig)
            writer.transport.pause_reading()
            writer.write(post(fields=""))
            writers.append(writer)
            await until(lambda number=number: stats.answered == number + 1)
        unread = [client.unread_bytes() for client in _clients(rig)]
        assert min(unread) > 0
        rig.server.crowd.unread_bytes_max = sum(unread) - 1
        oldest = next(iter(rig.server.crowd._unread))
        rig.server.crowd.sweep(0.0)

        # Whoever has not read for longest goes, and nobody else.
        await until(lambda: len(_clients(rig)) == 3)
        assert oldest not in rig.server.crowd.clients
        for writer in writers:
            writer.transport.abort()
        await until(lambda: not rig.server.crowd._unread)


# Senders.


@pytest.mark.parametrize(("part", "want"), [(1 << 20, (1 << 20, 2 << 20)), (1 << 40, (64 << 20, 128 << 20))])
def test_a_small_container_holds_less(part: int, want: tuple[int, int]):
    found = crowd.Crowd()
    found.shrink(part)

    assert (found.arriving_bytes_max, found.unread_bytes_max) == want


async def test_bodies_on_their_way_are_bounded_together():
    async with one_tier([reply(GOOD)], max_body_bytes=600_000) as (rig, _):
        rig.server.crowd.arriving_bytes_max = 1
        opened = [await rig.connect() for _ in range(3)]
        for _, writer in opened:
            writer.write(HALF_BODY + b" " * 10)
        await until(lambda: all(client._request is not None for client in _clients(rig)))
        for count, (_, writer) in enumerate(opened):
            writer.write(b" " * 450_000)
            await until(lambda count=count: len(rig.server.crowd._arriving) == min(2, count + 1))

        # Twice the largest body is not enough for three: whoever is at it for longest is told so.
        answer = await read_answer(opened[0][0])
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        for _, writer in opened:
            writer.close()
        await until(lambda: rig.server.crowd._arriving_bytes == 0)


async def test_body_in_pieces_is_counted_off_when_it_is_here():
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        request = post(fields="")
        for at in range(0, len(request), 7):
            writer.write(request[at : at + 7])
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status == 200
        assert rig.server.crowd._arriving_bytes == 0
        writer.close()


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 5000])
def test_tiny_pieces_weigh_no_more_than_their_bytes(size: int):
    pieces: list[bytes] = []
    whole = bytes(range(256)) * 400
    for at in range(0, len(whole), size):
        add_piece(pieces, whole[at : at + size])

    assert b"".join(pieces) == whole
    assert (
        len(pieces) <= len(whole) / min(size, 2048) + 12
        if size >= 2048
        else len(pieces) <= len(whole) / 2048 + 12
    )


async def test_more_clients_than_the_process_can_have_are_told_so():
    async with one_tier([reply(GOOD)]) as (rig, _):
        rig.server.crowd.clients_max = 2
        kept = [await rig.connect() for _ in range(2)]
        await until(lambda: len(_clients(rig)) == 2)
        reader, writer = await rig.connect()
        answer = await read_answer(reader)

        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (
            503,
            "too_many_connections",
            "1",
        )
        writer.close()
        for reader, other in kept:
            other.write(post())
            assert (await read_answer(reader)).status == 200
            other.close()
        await until(lambda: not _clients(rig))
        assert (await rig.ask(post())).status == 200


async def test_request_that_begins_behind_an_answer_must_arrive_in_time():
    gate = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await gate.wait()
        await reply(GOOD)(peer)

    async with one_tier([slow]) as (rig, (engine,)):
        reader, writer = await rig.connect()
        writer.write(post(fields=""))
        await until(lambda: len(engine.asked) == 1)
        writer.write(HALF_BODY + b"{")
        await until(lambda: all(client._request is not None for client in _clients(rig)))
        gate.set()
        assert (await read_answer(reader)).status == 200
        _let_time_pass(rig, limits.BODY_S_MAX + 1)

        assert (await read_answer(reader)).status == 408
        writer.close()


# Clients that leave behind a second request.


async def test_client_that_leaves_behind_its_second_request_frees_the_engine():
    async with one_tier([hang()], timeout_s=60.0) as (rig, (engine,)):
        _, writer = await rig.connect()
        writer.write(post(fields="") + post(fields=""))
        await until(lambda: len(engine.asked) == 1)
        writer.transport.abort()

        await until(engine.asked[0].gone.is_set)
        assert rig.state.fleet.lines["chat"].steps[0].stats.attempts["Cancelled"] == 1
        assert len(engine.asked) == 1


async def test_many_requests_at_once_are_answered_in_order():
    asked = [post(fields="", n=number) for number in range(12)]
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        reader, writer = await rig.connect()
        for request in asked:
            writer.write(request)
            await asyncio.sleep(0)
        for _ in asked:
            assert (await read_answer(reader)).status == 200
        sent: list[Any] = [peer.body for peer in engine.asked]
        assert [b'"n":%d' % number in body for number, body in enumerate(sent)] == [True] * 12
        writer.close()


async def test_engine_that_every_client_gives_up_is_taken_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patience, "BEGIN_S_MAX", 1e-9)
    async with one_tier([hang()], [hang(SSE_HEAD, chunk(token("a")))], timeout_s=60.0) as (
        rig,
        (stuck, well),
    ):
        step = rig.state.fleet.lines["chat"].steps[0]
        while not step.pool.stats.out:
            _, writer = await rig.connect()
            asked, events = len(stuck.asked), sum(step.stats.first_token.counts)
            writer.write(post(stream=True))
            # Who has said something has shown that it is not stuck.
            await until(lambda: len(stuck.asked) > asked or sum(step.stats.first_token.counts) > events)  # noqa: B023
            writer.transport.abort()
            await until(lambda: not any(replica.in_flight for replica in step.pool.replicas))

        out = [replica.port for replica in step.pool.replicas if replica.health.state == "Out"]
        assert out == [stuck.port]
        assert step.stats.attempts["Cancelled"] == len(well.asked)
