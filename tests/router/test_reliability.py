"""Engines that break at every byte and lie about lengths, clients that leave at every stage, everything failing at once.

Which row of the fault plan is tested where: README.md of this folder.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from modelfleet.api.route_table import ExternalTarget
from tests.router.rig import (
    DONE,
    GOOD,
    SSE_HEAD,
    USAGE,
    Act,
    Engine,
    Rig,
    cascade,
    chunk,
    engines,
    hang,
    one_tier,
    post,
    raw,
    reply,
    router,
    stream,
    tier,
    token,
    until,
)

BIG = {**GOOD, "id": "of-the-big-tier"}
BIG_STREAM = (token("big"), DONE)
_WHOLE = orjson.dumps(GOOD)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_WHOLE),
    _WHOLE,
)
EVENTS = (token("a"), token("b"), USAGE, DONE)
STREAM = SSE_HEAD + b"".join(map(chunk, EVENTS)) + b"0\r\n\r\n"


@asynccontextmanager
async def small_before_big(
    small: list[Act], *, timeout_s: float = 5.0
) -> AsyncIterator[tuple[Rig, Engine, Engine]]:
    """One replica each: neither is ever taken out, and a request that fails at the small tier goes to the big one."""

    async def big(peer: object) -> None:
        asked = found[1].asked[-1]
        await (stream(*BIG_STREAM) if b'"stream":true' in asked.body else reply(BIG))(asked)

    async with engines(small, [big]) as found:
        first, second = found
        tiers = (tier("small", weight=1000, timeout_s=timeout_s), tier("big"))
        ports = {"small-svc": [first.port], "big-svc": [second.port]}
        async with router(cascade(*tiers, deadline_s=30.0), ports) as rig:
            yield rig, first, second


def _at_rest(rig: Rig) -> bool:
    steps = [step for line in rig.state.fleet.lines.values() for step in line.steps]
    return all(
        step.stats.in_flight == 0
        and step.pool.stats.waiting == 0
        and not any(r.in_flight for r in step.pool.replicas)
        for step in steps
    )


# R1, R2: before the first byte somebody else answers, after it the break is shown.


async def test_plain_answer_that_dies_at_any_byte_is_another_tiers():
    cuts = [raw(PLAIN[:cut]) for cut in range(len(PLAIN))]
    async with small_before_big(cuts) as (rig, small, _):
        answers = [await rig.ask(post()) for _ in cuts]

        assert {answer.headers["x-modelfleet-tier"] for answer in answers} == {"big"}
        assert all(orjson.loads(answer.body) == BIG and answer.complete for answer in answers)
        assert len(small.asked) == len(cuts)
        assert _at_rest(rig)


async def test_stream_that_dies_at_any_byte_is_another_tiers_or_shown_as_broken():
    cuts = [raw(STREAM[:cut]) for cut in range(len(STREAM))]
    first_s = STREAM.index(token("a")) + len(token("a"))
    async with small_before_big(cuts) as (rig, _, big):
        for cut in range(len(cuts)):
            answer = await rig.ask(post(stream=True))

            if cut < first_s:
                assert answer.body == b"".join(BIG_STREAM), cut
                assert answer.complete
                continue
            *events, last, rest = answer.body.split(b"\n\n")
            assert b"".join(event + b"\n\n" for event in events) in (
                token("a"),
                token("a") + token("b"),
                token("a") + token("b") + DONE,
            ), cut
            assert orjson.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_broken"
            assert (rest, answer.complete) == (b"", False)
        assert len(big.asked) == first_s
        assert _at_rest(rig)


@pytest.mark.parametrize("streaming", [False, True])
async def test_answer_that_stops_at_any_byte_is_given_up_in_time(streaming: bool):  # noqa: FBT001 - a row
    script = STREAM if streaming else PLAIN
    hangs = [hang(script[:cut]) for cut in range(0, len(script), 7)]
    async with small_before_big(hangs, timeout_s=0.3) as (rig, _, big):
        answers = await asyncio.gather(*(rig.ask(post(stream=streaming)) for _ in hangs))

        whole = [answer for answer in answers if answer.headers["x-modelfleet-tier"] == "big"]
        assert all(answer.complete for answer in whole)
        assert len(whole) == len(big.asked) >= (len(hangs) // 3 if streaming else len(hangs))
        broken = [answer for answer in answers if answer not in whole]
        assert all(b'"upstream_broken"' in answer.body and not answer.complete for answer in broken)
        assert _at_rest(rig)


def _head(lengths: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + lengths + b"\r\n"


SIZE = b"Content-Length: %d\r\n" % len(_WHOLE)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LIES: dict[str, tuple[Act, str]] = {
    "more than its length": (raw(PLAIN + b"}"), "BadHttp"),
    "another answer behind it": (raw(PLAIN + PLAIN), "BadHttp"),
    "another stream behind it": (raw(PLAIN + STREAM), "BadHttp"),
    "less than its length": (raw(_head(b"Content-Length: 9999\r\n") + _WHOLE), "Reset"),
    "two lengths": (raw(_head(SIZE + b"Content-Length: 3\r\n") + _WHOLE), "BadHttp"),
    "length and chunks": (raw(_head(SIZE + CHUNKED) + chunk(_WHOLE) + b"0\r\n\r\n"), "BadHttp"),
    "negative length": (raw(_head(b"Content-Length: -1\r\n") + _WHOLE), "BadHttp"),
    "a length that is no number": (raw(_head(b"Content-Length: many\r\n") + _WHOLE), "BadHttp"),
    "chunk larger than said": (raw(_head(CHUNKED) + b"5\r\n" + _WHOLE + b"\r\n0\r\n\r\n"), "BadHttp"),
    "chunk smaller than said": (raw(_head(CHUNKED) + b"ffff\r\n" + _WHOLE + b"\r\n0\r\n\r\n"), "Reset"),
    "chunk size beyond all numbers": (raw(_head(CHUNKED) + b"f" * 17 + b"\r\n" + _WHOLE), "BadHttp"),
    "chunks without end": (raw(_head(CHUNKED) + chunk(_WHOLE)), "Reset"),
    "no body at all": (raw(_head(b"Content-Length: 0\r\n")), "Truncated"),
    "headers without end": (raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 30_000), "BadHttp"),
    "interim answers without end": (raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9_000), "BadHttp"),
    "switches protocols": (
        raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "BadHttp",
    ),
}


@pytest.mark.parametrize(("act", "outcome"), LIES.values(), ids=LIES)
async def test_answer_of_a_wrong_length_is_another_tiers(act: Act, outcome: str):
    async with small_before_big([act]) as (rig, _, _):
        answer = await rig.ask(post())

        assert (answer.headers["x-modelfleet-tier"], orjson.loads(answer.body)) == ("big", BIG)
        attempts = rig.state.fleet.lines["chat"].steps[0].stats.attempts
        assert {name for name, count in attempts.items() if count} == {outcome}
        assert _at_rest(rig)


async def test_stream_with_another_answer_behind_it_is_cut_there():
    async with small_before_big([raw(STREAM + STREAM)]) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert answer.body.startswith(token("a") + token("b") + DONE)
        assert answer.body.count(token("a")) == 1
        assert not answer.complete


async def test_comments_without_end_do_not_fill_the_memory():
    async with small_before_big([hang(SSE_HEAD, *[chunk(b": wait\n\n" * 100_000)] * 8)]) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert answer.body == b"".join(BIG_STREAM)
        assert rig.state.fleet.lines["chat"].steps[0].stats.attempts["Oversized"] == 1


async def test_what_was_delivered_of_a_broken_stream_is_counted():
    events = [chunk(token("a"))] * 5
    async with small_before_big([raw(SSE_HEAD, *events)]) as (rig, _, _):
        await rig.ask(post(stream=True))

        assert rig.state.fleet.lines["chat"].steps[0].stats.tokens_out == 5


# R3: who leaves frees what it had, at every stage.


@asynccontextmanager
async def deaf() -> AsyncIterator[int]:
    """A port that takes no connection and refuses none: its queue is full."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port: int = listening.getsockname()[1]
        filling = [socket.socket() for _ in range(4)]
        tasks = []
        for each in filling:
            each.setblocking(False)  # noqa: FBT003
            tasks.append(loop.create_task(loop.sock_connect(each, ("127.0.0.1", port))))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield port
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in filling:
                each.close()


async def test_client_that_leaves_while_the_engine_is_called():
    async with deaf() as port, router(cascade(tier("small", weight=1000)), {"small-svc": [port]}) as rig:
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        before = asyncio.all_tasks()
        _, writer = await rig.connect()
        writer.write(post())
        await until(lambda: stats.in_flight == 1)
        assert len(asyncio.all_tasks() - before) == 1
        writer.transport.abort()

        await until(lambda: asyncio.all_tasks() <= before)
        assert (stats.attempts["Cancelled"], _at_rest(rig)) == (1, True)


async def test_engine_that_takes_no_connection_is_passed_over():
    async with deaf() as port, engines([reply(BIG)]) as (big,):
        ports = {"small-svc": [port], "big-svc": [big.port]}
        async with router(cascade(tier("small", weight=1000), tier("big")), ports) as rig:
            answer = await rig.ask(post())

            assert orjson.loads(answer.body) == BIG
            assert rig.state.fleet.lines["chat"].steps[0].stats.attempts["ConnectTimeout"] == 1


async def test_client_that_leaves_pays_for_what_it_got():
    async with one_tier([hang(SSE_HEAD, *[chunk(token("a"))] * 3)], timeout_s=60.0) as (rig, _):
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        await reader.readuntil(token("a") + b"\r\n")
        step = rig.state.fleet.lines["chat"].steps[0]
        writer.transport.abort()

        await until(lambda: step.stats.attempts["Cancelled"] == 1)
        assert 1 <= step.stats.tokens_out <= 3
        assert _at_rest(rig)


# R9, R10: retries do not multiply what is already too much.


async def test_when_all_fail_attempts_stay_near_the_requests():
    crash = reply({}, status=503)
    async with one_tier(*[[crash]] * 4) as (rig, found):
        answers = [await rig.ask(post()) for _ in range(100)]

        assert {answer.status for answer in answers} == {503}
        assert sum(len(engine.asked) for engine in found) <= 120 + 3


async def test_external_name_that_nobody_knows_falls_to_the_other_tier():
    target = ExternalTarget("http://no-such-host.invalid/v1", None, None)
    async with engines([reply(GOOD)]) as (small,):
        tiers = (tier("small"), tier("frontier", weight=1000, external=target))
        async with router(cascade(*tiers), {"small-svc": [small.port]}) as rig:
            answer = await rig.ask(post())

            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "small")
