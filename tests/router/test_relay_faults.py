"""Engines that die, hang and lie at every point of one request."""

import asyncio
import socket

import orjson
import pytest

from modelfleet.router.relay import HELD_BYTES_MAX
from tests.router.rig import (
    DONE,
    GOOD,
    GOOD_STREAM,
    PATIENCE_S,
    SSE_HEAD,
    Act,
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
)

HALF_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le"
HALF_BODY = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"choi'
ABORTED = {"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": "abort"}]}
ABORT_EVENT = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n'
ERROR_EVENT = b'data: {"error":{"message":"boom","code":500}}\n\n'

FAULTS_OF_PLAIN: dict[str, tuple[Act, str]] = {
    "dies before its headers": (raw(), "Reset"),
    "dies inside its headers": (raw(HALF_HEAD), "Reset"),
    "dies inside its body": (raw(HALF_BODY), "Reset"),
    "ends a body without length in the middle": (
        raw(HALF_BODY.replace(b"Content-Length: 100\r\n", b"")),
        "Truncated",
    ),
    "speaks no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "BadHttp"),
    "hangs before its headers": (hang(), "Timeout"),
    "hangs inside its body": (hang(HALF_BODY), "Timeout"),
    "is loading": (reply({"error": {"message": "Loading model"}}, status=503), "Status5xx"),
    "crashes on the request": (reply({"error": {}}, status=500), "Status5xx"),
    "is too busy": (reply({"error": {}}, status=429), "RateLimited"),
    "knows another model": (reply({"error": {}}, status=404), "NotFound"),
    "sends us elsewhere": (reply(b"", status=307, fields="Location: http://127.0.0.1:1/\r\n"), "Redirect"),
    "is a web page": (reply(b"<html>", kind="text/html"), "NotAnAnswer"),
    "says 200 with an error": (reply({"error": {"message": "no"}}), "ErrorBody"),
    "was told to stop": (reply(ABORTED), "Aborted"),
}


@pytest.mark.parametrize(("act", "outcome"), FAULTS_OF_PLAIN.values(), ids=FAULTS_OF_PLAIN)
async def test_plain_answer_comes_from_the_other_replica(act: Act, outcome: str):
    async with one_tier([act], [reply(GOOD)], timeout_s=0.3) as (rig, _):
        # Ties rotate, so one of two requests begins at the faulty replica.
        answers = [await rig.ask(post()) for _ in range(2)]

        assert [answer.status for answer in answers] == [200, 200]
        assert all(orjson.loads(answer.body) == GOOD for answer in answers)
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        assert stats.attempts[outcome] == 1
        assert sorted(answer.headers["x-modelfleet-attempts"] for answer in answers) == ["1", "2"]


FAULTS_OF_STREAMS: dict[str, tuple[Act, str]] = {
    "dies before its headers": (raw(), "Reset"),
    "dies after its headers": (raw(SSE_HEAD), "Reset"),
    "dies after a comment": (raw(SSE_HEAD, chunk(b": wait\n\n")), "Reset"),
    "dies inside its first event": (raw(SSE_HEAD, chunk(b'data: {"cho')), "Reset"),
    "dies inside a chunk": (raw(SSE_HEAD, b"40\r\ndata: {"), "Reset"),
    "hangs after its headers": (hang(SSE_HEAD), "Timeout"),
    "ends without an event": (stream(), "Truncated"),
    "begins with an error": (stream(ERROR_EVENT, DONE), "ErrorEvent"),
    "begins with an abort": (stream(ABORT_EVENT, DONE), "Aborted"),
    "is loading": (reply({"error": {"message": "Loading model"}}, status=503), "Status5xx"),
}


@pytest.mark.parametrize(("act", "outcome"), FAULTS_OF_STREAMS.values(), ids=FAULTS_OF_STREAMS)
async def test_stream_comes_from_the_other_replica(act: Act, outcome: str):
    async with one_tier([act], [stream(*GOOD_STREAM)], timeout_s=0.3) as (rig, _):
        answers = [await rig.ask(post(stream=True)) for _ in range(2)]

        assert [answer.body for answer in answers] == [token("a") + token("b") + DONE] * 2
        assert all(answer.complete for answer in answers)
        assert rig.state.fleet.lines["chat"].steps[0].stats.attempts[outcome] == 1


BREAKS: dict[str, tuple[Act, str]] = {
    "dies": (raw(SSE_HEAD, chunk(token("a"))), "Reset"),
    "dies inside an event": (raw(SSE_HEAD, chunk(token("a") + token("b")[:9])), "Reset"),
    "dies inside a chunk": (raw(SSE_HEAD, chunk(token("a")), b"40\r\ndata"), "Reset"),
    "ends without [DONE]": (stream(token("a")), "Truncated"),
    "hangs": (hang(SSE_HEAD, chunk(token("a"))), "Silence"),
    "aborts": (stream(token("a"), ABORT_EVENT, DONE), "Aborted"),
    "tells an error": (stream(token("a"), ERROR_EVENT, DONE), "ErrorEvent"),
    "breaks HTTP": (raw(SSE_HEAD, chunk(token("a")), b"zz\r\n"), "BadHttp"),
}


@pytest.mark.parametrize(("act", "outcome"), BREAKS.values(), ids=BREAKS)
async def test_broken_stream_is_never_a_clean_end(act: Act, outcome: str):
    async with one_tier([act], [act], timeout_s=0.3) as (rig, found):
        answer = await rig.ask(post(stream=True))

        *events, last, rest = answer.body.split(b"\n\n")
        assert events == [token("a").strip()]
        assert orjson.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_broken"
        assert rest == b""
        assert not answer.complete
        assert sum(len(engine.asked) for engine in found) == 1
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        assert (stats.attempts[outcome], stats.errors["Broken"], stats.in_flight) == (1, 1, 0)


VERDICTS: dict[str, tuple[Act, int, str]] = {
    "all crash": (reply({}, status=500), 503, "unavailable"),
    "all are rate limited": (reply({}, status=429), 429, "rate_limit_exceeded"),
    "all hang": (hang(), 504, "timeout"),
    "all die": (raw(), 503, "unavailable"),
}


@pytest.mark.parametrize(("act", "status", "code"), VERDICTS.values(), ids=VERDICTS)
async def test_nobody_can_answer(act: Act, status: int, code: str):
    async with one_tier([act], [act], timeout_s=0.2) as (rig, found):
        answer = await rig.ask(post())

        assert (answer.status, answer.error["code"]) == (status, code)
        assert ("retry-after" in answer.headers) == (status in {429, 503})
        assert answer.headers["x-modelfleet-attempts"] == "2"
        assert [len(engine.asked) for engine in found] == [1, 1]


async def test_no_replica_at_all_is_503_at_once():
    async with router(cascade(tier("small", weight=1000)), {}) as rig:
        answer = await rig.ask(post())

        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_deadline_holds_over_all_attempts():
    async with one_tier([hang()], [hang()], [hang()], timeout_s=5.0, deadline_s=0.3) as (rig, found):
        answer = await rig.ask(post())

        assert (answer.status, answer.error["code"]) == (504, "deadline")
        assert sum(len(engine.asked) for engine in found) == 1


ORDERS = {
    "entered at the cheap tier, goes to the dear one": (0.0, ["small"], "big"),
    "entered at the dear tier, falls to the cheap one": (0.99, ["big"], "small"),
}


@pytest.mark.parametrize(("spin", "dead", "answers"), ORDERS.values(), ids=ORDERS)
async def test_another_tier_answers(spin: float, dead: list[str], answers: str):
    tiers = (tier("small", weight=500), tier("big", weight=500))
    async with engines([reply(GOOD)], [reply(GOOD)]) as (small, big):
        ports = {"small-svc": [small.port], "big-svc": [big.port]}
        for name in dead:
            ports[f"{name}-svc"] = [_closed_port()]
        async with router(cascade(*tiers), ports, spin=spin) as rig:
            answer = await rig.ask(post())

            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, answers)
            steps = {step.route.name: step.stats for step in rig.state.fleet.lines["chat"].steps}
            assert (steps[dead[0]].started, steps[dead[0]].answered) == (1, 0)
            assert (steps[answers].started, steps[answers].answered) == (0, 1)
            assert steps[dead[0]].attempts["Refused"] == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_half_an_answer_never_looks_whole_to_an_old_client(streamed: bool):  # noqa: FBT001 - a row
    # HTTP/1.0 has no chunks: an answer of unknown length ends with its connection, so only a reset tells.
    large = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n"
    act = raw(SSE_HEAD, chunk(token("a"))) if streamed else raw(large + b" " * (HELD_BYTES_MAX + 1))
    async with one_tier([act]) as (rig, _):
        reader, writer = await rig.connect()
        writer.write(post(stream=streamed).replace(b"HTTP/1.1", b"HTTP/1.0"))

        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()


async def test_large_answer_whose_end_nobody_could_tell_is_none():
    endless = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n" + b" " * (HELD_BYTES_MAX + 1)
    async with one_tier([raw(endless), reply(GOOD)], [raw(endless), reply(GOOD)]) as (rig, engines_):
        answer = await rig.ask(post())

        assert (answer.status, answer.complete) == (503, True)
        assert rig.state.fleet.lines["chat"].steps[0].stats.attempts["Oversized"] == len(engines_)


def _closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
