"""The bodies of requests under way are bounded together, and given back however a request ends."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    size: int


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

        assert rig.bodies.bytes_held == 0


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
