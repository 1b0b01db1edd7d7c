"""The bodies of requests under way are bounded together, and given back however a request ends."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest

from modelfleet.api.route_table import AcceptRule
from modelfleet.route.refusal import Refused
from modelfleet.router import bodies
from modelfleet.router.bodies import Bodies
from tests.router.rig import (
    DONE,
    GOOD,
    GOOD_STREAM,
    SSE_HEAD,
    Act,
    Peer,
    cascade,
    chunk,
    engines,
    hang,
    post,
    raw,
    reply,
    router,
    stream,
    tier,
    token,
    until,
)

LARGE = "x" * 100_000


@dataclass
class Body:
    size: int = 0
    kept: int = 0


@given(st.lists(st.integers(0, 300), max_size=20))
def test_no_more_is_held_than_the_limit_or_one(sizes: list[int]):
    held, inside = Bodies(), []
    held.bytes_max = 200
    for size in sizes:
        body = Body(size)
        try:
            held.take(body)
        except Refused:
            assert held.bytes_held + size > 200
        else:
            inside.append(body)
            assert held.bytes_held <= max(200, size)
    for body in inside * 2:  # given back twice is given back once
        held.give(body)

    assert held.bytes_held == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2 * bodies.SMALL_BYTES)), max_size=40))
def test_answers_are_held_within_the_limit_and_small_ones_always(pieces: list[tuple[int, int]]):
    held, answers = Bodies(), [Body() for _ in range(6)]
    held.bound(4 * bodies.SMALL_BYTES)
    for which, count in pieces:
        answer = answers[which]
        if held.keep(answer, count):
            assert answer.kept > bodies.SMALL_BYTES
            assert held.answers_held > held.answers_max
            held.let_go(answer)  # it is sent as it comes
        assert held.answers_held == sum(each.kept for each in answers)
        assert held.answers_held <= held.answers_max + len(answers) * bodies.SMALL_BYTES
    for answer in answers * 2:
        held.give(answer)

    assert held.answers_held == 0


LIMITS = {
    "half a gibibyte": ("536870912\n", 64 << 20),
    "none": ("max\n", bodies.BYTES_MAX),
    "more than is ever needed": (str(1 << 50), bodies.BYTES_MAX),
    "no file": (None, bodies.BYTES_MAX),
}


@pytest.mark.parametrize(("text", "want"), LIMITS.values(), ids=LIMITS)
def test_limit_of_the_container(text: str | None, want: int, tmp_path: Path):
    file = tmp_path / "memory.max"
    if text is not None:
        file.write_text(text)

    assert bodies.bytes_max((str(tmp_path / "absent"), str(file))) == want


async def test_what_is_too_much_is_refused_until_there_is_room():
    answered = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await answered.wait()
        await reply(GOOD)(peer)

    async with (
        engines([slow]) as (engine,),
        router(cascade(tier("small", weight=1000)), {"small-svc": [engine.port]}) as rig,
    ):
        rig.bodies.bytes_max = 150_000
        first = asyncio.create_task(rig.ask(post(user=LARGE)))
        await until(lambda: bool(engine.asked))
        small, large = asyncio.create_task(rig.ask(post())), await rig.ask(post(user=LARGE))

        assert (large.status, large.error["code"], large.headers["retry-after"]) == (503, "router_full", "1")
        answered.set()
        assert [(await each).status for each in (first, small)] == [200, 200]
        assert (await rig.ask(post(user=LARGE))).status == 200
        assert rig.bodies.bytes_held == 0


JUDGED = AcceptRule("MeanLogprob", -0.5)
ENDS: dict[str, tuple[AcceptRule | None, Act, bool]] = {
    "a whole answer": (None, reply(GOOD), False),
    "a stream": (None, stream(*GOOD_STREAM), True),
    "an error of the client's": (None, reply({"error": {}}, status=400), False),
    "no answer at all": (None, raw(), False),
    "a stream that breaks": (None, raw(SSE_HEAD, chunk(token("a"))), True),
    "an escalation": (JUDGED, reply(GOOD), False),
    "an escalation of a stream": (JUDGED, stream(token("a"), DONE), True),
}


@pytest.mark.parametrize(("accept", "act", "streams"), ENDS.values(), ids=ENDS)
async def test_it_is_given_back_however_the_request_ends(accept: AcceptRule | None, act: Act, streams: bool):  # noqa: FBT001 - a row
    route = cascade(tier("small", weight=1000, accept=accept), tier("big"))
    async with (
        engines([act], [stream(*GOOD_STREAM) if streams else reply(GOOD)]) as (small, big),
        router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig,
    ):
        await rig.ask(post(stream=streams))

        assert (rig.bodies.bytes_held, rig.bodies.answers_held) == (0, 0)


@pytest.mark.parametrize("begun", [False, True], ids=["before", "after"])
async def test_it_is_given_back_with_the_first_byte_or_when_the_client_leaves(begun: bool):  # noqa: FBT001 - a row
    act = hang(SSE_HEAD, chunk(token("a"))) if begun else hang()
    async with (
        engines([act]) as (engine,),
        router(cascade(tier("small", weight=1000)), {"small-svc": [engine.port]}) as rig,
    ):
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        await until(lambda: bool(engine.asked))
        if begun:
            await reader.readuntil(b"data: ")
        else:
            assert rig.bodies.bytes_held > 0
            writer.close()
        await until(lambda: rig.bodies.bytes_held == 0)
        writer.close()


def _long(logprob: float) -> dict[str, object]:
    """An answer of 100,000 bytes, and how sure its engine is of it."""
    told = {"content": [{"token": "x", "logprob": logprob}]}
    message = {"role": "assistant", "content": LARGE}
    return {**GOOD, "choices": [{"message": message, "logprobs": told, "finish_reason": "stop"}]}


@pytest.mark.parametrize("accept", [JUDGED, None], ids=["judged", "not judged"])
async def test_an_answer_too_many_is_sent_as_it_comes(accept: AcceptRule | None):
    """Two can be held; the third is too much with them."""
    begun, rest = 0, asyncio.Event()
    body = orjson.dumps(_long(-2.0))

    async def slow(peer: Peer) -> None:
        nonlocal begun
        head = f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        await peer.send(head.encode() + body[:90_000])
        begun += 1
        await rest.wait()
        await peer.send(body[90_000:])

    route = cascade(tier("small", weight=1000, accept=accept), tier("big"))
    async with (
        engines([slow], [reply(GOOD)]) as (small, big),
        router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig,
    ):
        rig.bodies.bound(250_000)
        asked = [asyncio.create_task(rig.ask(post())) for _ in range(3)]
        await until(lambda: begun == 3 and rig.bodies.unheld == 1)
        assert rig.bodies.answers_held == 180_000
        rest.set()
        answers = await asyncio.gather(*asked)

        assert [answer.status for answer in answers] == [200] * 3
        # The one is sent though nobody has judged it; the others are not good enough.
        tiers = sorted(answer.headers["x-modelfleet-tier"] for answer in answers)
        assert tiers == (["big", "big", "small"] if accept else ["small"] * 3)
        assert all(answer.complete for answer in answers)
        assert rig.bodies.answers_held == 0
        text = generate_latest(rig.state.metrics.registry()).decode()
        assert "modelfleet_router_answers_unheld_total 1.0" in text
        assert 'modelfleet_router_held_bytes{kind="answer"} 0.0' in text


async def test_an_answer_that_was_not_good_enough_is_held_until_the_end():
    answered = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await answered.wait()
        await reply({}, status=500)(peer)

    route = cascade(tier("small", weight=1000, accept=JUDGED), tier("big"))
    async with (
        engines([reply(_long(-2.0))], [slow]) as (small, big),
        router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig,
    ):
        asked = asyncio.create_task(rig.ask(post()))
        await until(lambda: bool(big.asked))
        assert rig.bodies.answers_held > 100_000
        answered.set()

        assert (await asked).headers["x-modelfleet-accepted"] == "false"
        assert rig.bodies.answers_held == 0
