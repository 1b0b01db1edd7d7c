"""Every request leaves one line, however it ends, and no line says what a client or a model said."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule, CascadeRoute, RouterRules
from modelfleet.router import access_log, recorder
from modelfleet.router.access_log import AccessLog
from modelfleet.router.recorder import Recorder
from tests.router.rig import (
    DONE,
    GOOD,
    GOOD_STREAM,
    SSE_HEAD,
    USAGE,
    Act,
    Engine,
    Rig,
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

RULE = AcceptRule("MeanLogprob", -0.5)
NOW_S = 1795301422.25  # Unix time: 2026-11-21T22:50:22.250Z


@dataclass
class Log:
    """A log whose lines go into a pipe."""

    spin: float = 0.0
    reader: int = 0
    writer: int = 0
    log: AccessLog = field(init=False)

    def __post_init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.log = AccessLog(self.writer, loop=asyncio.get_running_loop(), clock=lambda: NOW_S)

    def lines(self) -> list[dict[str, Any]]:
        """All lines; the log is closed."""
        self.log.close()
        os.close(self.writer)
        with os.fdopen(self.reader, "rb") as text:
            return [orjson.loads(line) for line in text]


@asynccontextmanager
async def logged(
    *acts: Sequence[Act], percent: int = 100, spin: float = 0.0, rule: AcceptRule | None = None, **more: Any
) -> AsyncIterator[tuple[Rig, list[Engine], Log]]:
    """A router over as many tiers as there are lists of acts, which keeps an access log."""
    log = Log()
    names = ("small", "big")[: len(acts)]
    async with engines(*acts) as found:
        tiers = [
            tier(name, weight=0 if place else 1000, accept=None if name == names[-1] else rule, timeout_s=1.0)
            for place, name in enumerate(names)
        ]
        route: CascadeRoute = cascade(*tiers, **more)
        ports = {f"{name}-svc": [engine.port] for name, engine in zip(names, found, strict=True)}
        told = Recorder(log.log, None, spin=lambda: spin)
        rules = RouterRules(access_log_percent=percent)
        async with router(route, ports, recorder=told, rules=rules) as rig:
            yield rig, found, log


async def test_line_of_an_answer():
    async with logged([reply(GOOD)]) as (rig, _, log):
        request = post()
        answer = await rig.ask(request)
        (line,) = log.lines()

        assert line.pop("duration_s") >= 0
        assert line == {
            "time": "2026-11-21T22:50:22.250Z", "level": "info", "logger": "modelfleet.access", "message": "request",
            "path": "/v1/chat/completions", "model": "chat", "cascade": "c", "key": None, "stream": False,
            "result": "Answered", "status": 200, "error": None,
            "tier": "small", "attempts": 1, "escalations": 0, "overflow": None, "outcomes": ["Answered"], "score": None,
            "accepted": True, "input_tokens": 7, "output_tokens": 2, "first_token_s": None, "cost_usd": None,
            "request_bytes": len(request.partition(b"\r\n\r\n")[2]), "answer_bytes": len(answer.body),
        }  # fmt: skip


def _said(text: str, logprob: float) -> Act:
    told = {"content": [{"token": text, "logprob": logprob}]}
    choice = {"index": 0, "message": {"content": text}, "logprobs": told, "finish_reason": "stop"}
    return reply({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 3}})


async def _ask(rig: Rig) -> None:
    await rig.ask(post())


async def _stream(rig: Rig) -> None:
    await rig.ask(post(stream=True))


async def _unknown_model(rig: Rig) -> None:
    await rig.ask(post({"model": "CANARY-model", "messages": []}))


async def _bad_body(rig: Rig) -> None:
    await rig.ask(post(b"CANARY{"))


async def _leave_early(rig: Rig) -> None:
    _, writer = await rig.connect()
    writer.write(post())
    await until(lambda: rig.state.fleet.lines["chat"].steps[0].stats.in_flight == 1)
    writer.close()
    await until(lambda: rig.state.fleet.lines["chat"].steps[0].stats.in_flight == 0)


async def _leave_late(rig: Rig) -> None:
    reader, writer = await rig.connect()
    writer.write(post(stream=True))
    await reader.readuntil(b"\n\n")
    writer.close()
    await until(lambda: rig.state.fleet.lines["chat"].steps[0].stats.in_flight == 0)


Ask = Callable[[Rig], Awaitable[None]]
PART = SSE_HEAD + chunk(token("CANARY"))
ENDS: dict[str, tuple[list[list[Act]], Ask, dict[str, Any]]] = {
    "answered": (
        [[reply(GOOD)]],
        _ask,
        {"result": "Answered", "status": 200, "answer_bytes": len(orjson.dumps(GOOD))},
    ),
    "answered at the second attempt": (
        [[raw()], [reply(GOOD)]],
        _ask,
        {"result": "Answered", "attempts": 2, "tier": "big", "outcomes": ["Answered", "Reset"]},
    ),
    "answered by a stream": (
        [[stream(*GOOD_STREAM)]],
        _stream,
        {"result": "Answered", "stream": True, "input_tokens": 7, "output_tokens": 2},
    ),
    "passed on with the engine's own error": (
        [[reply({"error": {"message": "CANARY"}}, status=400)]],
        _ask,
        {"result": "Answered", "status": 400, "outcomes": ["Answered"]},
    ),
    "escalated": (
        [[_said("CANARY", -2.0)], [_said("CANARY", -0.1)]],
        _ask,
        {"tier": "big", "escalations": 1, "input_tokens": 20, "output_tokens": 6, "attempts": 2},
    ),
    "served as the best there was": (
        [[_said("CANARY", -2.0)], [reply({"error": {}}, status=500)]],
        _ask,
        {"result": "Answered", "tier": "small", "accepted": False, "score": -2.0, "input_tokens": 10},
    ),
    "broken": ([[raw(PART)]], _stream, {"result": "Broken", "status": 200, "error": "upstream_broken"}),
    "refused: nobody could": (
        [[reply({}, status=500)]],
        _ask,
        {
            "result": "Refused",
            "status": 503,
            "error": "unavailable",
            "accepted": None,
            "outcomes": ["Status5xx"],
            "attempts": 1,
        },
    ),
    "refused at the door: no such model": (
        [[reply(GOOD)]],
        _unknown_model,
        {"result": "Refused", "status": 404, "error": "model_not_found", "model": None, "cascade": None},
    ),
    "refused at the door: no JSON": ([[reply(GOOD)]], _bad_body, {"result": "Refused", "status": 400}),
    "left by its client before an answer": ([[hang()]], _leave_early, {"result": "Cancelled", "status": 499}),
    "left by its client in a stream": (
        [[hang(PART)]],
        _leave_late,
        {"result": "Cancelled", "status": 200, "output_tokens": 1, "outcomes": ["Cancelled"]},
    ),
}


@pytest.mark.parametrize(("acts", "ask", "want"), ENDS.values(), ids=ENDS)
async def test_one_line_however_it_ends(acts: list[list[Act]], ask: Ask, want: dict[str, Any]):
    async with logged(*acts, rule=RULE) as (rig, _, log):
        await ask(rig)
        lines = log.lines()

        assert len(lines) == 1
        assert {name: lines[0].get(name) for name in want} == want
        assert b"CANARY" not in orjson.dumps(lines)


async def test_stream_tells_when_it_began():
    async with logged([stream(*GOOD_STREAM)]) as (rig, _, log):
        await rig.ask(post(stream=True))
        (line,) = log.lines()

        assert 0 <= line["first_token_s"] <= line["duration_s"]
        assert line["answer_bytes"] == len(b"".join((token("a"), token("b"), USAGE, DONE)))


SAMPLES = {
    "in the sample": (10, 0.09, 200, 1),
    "not in the sample": (10, 0.11, 200, 0),
    "not in the sample, and failed": (10, 0.11, 500, 1),
    "failed, and there is no log": (0, 0.0, 500, 0),
}


@pytest.mark.parametrize(("percent", "spin", "status", "lines"), SAMPLES.values(), ids=SAMPLES)
async def test_sample(percent: int, spin: float, status: int, lines: int):
    async with logged([reply(GOOD, status=status)], percent=percent, spin=spin) as (rig, _, log):
        await rig.ask(post())

        assert len(log.lines()) == lines


async def test_failures_beyond_the_sample_are_bounded():
    async with logged([reply(GOOD, status=500)], percent=1, spin=0.99) as (rig, _, log):
        now_s = asyncio.get_running_loop().time
        began_s = int(now_s())
        for _ in range(4 * recorder.FAILED_PER_S):
            await rig.ask(post())
        seconds = 1 + int(now_s()) - began_s

        assert recorder.FAILED_PER_S <= len(log.lines()) <= seconds * recorder.FAILED_PER_S


async def test_lines_leave_by_themselves_and_whole():
    log = Log()
    for number in range(100):
        log.log.add({"number": number, "more": "x" * 100})
    await until(lambda: log.log.written == 100)
    log.log.add({"number": 100})
    await until(lambda: log.log.written == 101)

    assert [line["number"] for line in log.lines()] == list(range(101))


async def test_reader_that_does_not_read_costs_lines_and_no_time():
    log = Log()
    for _ in range(40):
        log.log.add({"more": "x" * 50_000})

    assert log.log.dropped > 0
    assert log.log.pending_bytes <= access_log.PENDING_BYTES_MAX
    os.close(log.reader)


async def test_log_that_is_closed_counts_what_is_lost():
    log = Log()
    os.close(log.reader)
    log.log.add({"number": 1})
    await until(lambda: log.log.dropped == 1)

    assert log.log.written == 0
