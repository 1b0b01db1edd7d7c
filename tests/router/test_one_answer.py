"""The law: an answer is of one engine.  Whatever engines do and in whatever order, no client sees bytes of two, and no
broken answer looks whole.

Every engine's bytes carry its own mark.  What each of them does with its requests is drawn; the router has an accept
rule, retries, other tiers, short limits and keep-alive comments, so that all ways of leaving an engine are taken.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import orjson
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.api.route_table import AcceptRule
from modelfleet.router import judged
from tests.router.rig import (
    SSE_HEAD,
    Act,
    Answer,
    Rig,
    cascade,
    chunk,
    engines,
    hang,
    post,
    raw,
    read_answer,
    reply,
    router,
    tier,
)

TIERS = ("small", "middle", "big")
REPLICAS = 2
# Short ones: an engine that hangs costs the test this much.
TIMEOUT_S, DEADLINE_S, HOLD_S, KEEP_ALIVE_S = 0.06, 0.4, 0.02, 0.01
SURE, UNSURE = -0.1, -2.0
_MARK = re.compile(rb"<(\w+)/(\d)>")
ABORT = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n'
ERROR = b'data: {"error":{"message":"boom"}}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}\n\n'
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Script:
    """What an engine does with one request."""

    kind: str
    tokens: int = 3
    logprob: float = SURE
    cut: float = 1.0  # of its bytes, how much leaves

    def act(self, mark: str) -> Act:
        told = {"message": "boom"}
        if self.kind == "refuses":
            return raw()
        if self.kind in {"429", "500", "503"}:
            return reply({"error": told, "mark": mark}, status=int(self.kind))
        if self.kind == "error in 200":
            return reply({"error": told, "mark": mark})
        if self.kind == "web page":
            return reply(b"<html>" + mark.encode(), kind="text/html")
        data = self._plain(mark) if self.kind.startswith("plain") else self._stream(mark)
        data = data[: round(len(data) * self.cut)]
        return hang(data) if self.kind.endswith("hangs") else raw(data)

    def _plain(self, mark: str) -> bytes:
        content = [{"token": "x", "logprob": self.logprob}] * self.tokens
        message = {"role": "assistant", "content": mark * self.tokens}
        finish = "abort" if "aborts" in self.kind else "stop"
        choice = {"index": 0, "message": message, "logprobs": {"content": content}, "finish_reason": finish}
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        body = orjson.dumps({"choices": [choice], "usage": usage})
        return b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )

    def _stream(self, mark: str) -> bytes:
        events = [b": hello " + mark.encode() + b"\n\n"] if "comments" in self.kind else []
        for _ in range(self.tokens):
            told = {"content": [{"token": "x", "logprob": self.logprob, "top_logprobs": []}]}
            choice = {"index": 0, "delta": {"content": mark}, "logprobs": told, "finish_reason": None}
            events.append(b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n")
        if "aborts" in self.kind:
            events.append(ABORT)
        if "errs" in self.kind:
            events.append(ERROR)
        if "twice" in self.kind:
            events *= 2
        events += [USAGE, DONE]
        body = SSE_HEAD + b"".join(map(chunk, events)) + b"0\r\n\r\n"
        return body * 2 if "twice" in self.kind else body


KINDS = (
    "stream", "stream", "stream", "stream aborts", "stream errs", "stream comments", "stream twice", "stream hangs",
    "plain", "plain", "plain aborts", "plain hangs", "refuses", "429", "500", "503", "error in 200", "web page",
)  # fmt: skip
scripts = st.builds(
    Script,
    kind=st.sampled_from(KINDS),
    tokens=st.integers(0, 6),
    logprob=st.sampled_from([SURE, UNSURE, UNSURE]),
    cut=st.just(1.0) | st.floats(0.0, 1.0),
)
every_engine = st.lists(
    st.lists(scripts, min_size=1, max_size=3),
    min_size=len(TIERS) * REPLICAS,
    max_size=len(TIERS) * REPLICAS,
)
questions = st.lists(
    st.sampled_from(
        [
            {},
            {"stream": True},
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True, "response_format": {"type": "json_object"}},
            {"logprobs": True},
        ]
    ),
    min_size=1,
    max_size=3,
)


@contextmanager
def _soon() -> Iterator[None]:
    before, judged.KEEP_ALIVE_S = judged.KEEP_ALIVE_S, KEEP_ALIVE_S
    try:
        yield
    finally:
        judged.KEEP_ALIVE_S = before


async def _ask(rig: Rig, question: dict[str, object]) -> tuple[Answer, bool]:
    """The answer, and whether its connection could take another request."""
    reader, writer = await rig.connect()
    try:
        writer.write(post(fields="", **question))
        answer = await read_answer(reader)
        if not answer.complete or answer.headers.get("connection") == "close":
            return answer, False
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: r\r\n\r\n")
        return answer, (await read_answer(reader)).body == b'{"status":"ok"}'
    finally:
        writer.close()


async def _scenario(
    plans: list[list[Script]], asked: list[dict[str, object]], spin: float
) -> list[tuple[Answer, bool]]:
    marks = [f"<{name}/{number}>" for name in TIERS for number in range(REPLICAS)]
    acts = [[script.act(mark) for script in plan] for plan, mark in zip(plans, marks, strict=True)]
    async with engines(*acts) as found:
        ports = {
            f"{name}-svc": [engine.port for engine in found[at * REPLICAS : (at + 1) * REPLICAS]]
            for at, name in enumerate(TIERS)
        }
        rule = AcceptRule("MeanLogprob", -0.5)
        tiers = (
            tier("small", weight=600, accept=rule, engine="vllm", timeout_s=TIMEOUT_S),
            tier("middle", weight=200, accept=rule, engine="vllm", timeout_s=TIMEOUT_S),
            tier("big", weight=200, engine="vllm", timeout_s=TIMEOUT_S),
        )
        route = cascade(*tiers, deadline_s=DEADLINE_S, hold_tokens=2, hold_s=HOLD_S, max_escalations=2)
        async with router(route, ports, spin=spin) as rig:
            answers = list(await asyncio.gather(*(_ask(rig, question) for question in asked)))
            for step in rig.state.fleet.lines["chat"].steps:
                assert step.stats.in_flight == 0
                assert [replica.in_flight for replica in step.pool.replicas] == [0] * REPLICAS
            return answers


@settings(max_examples=100, deadline=None)
@given(plans=every_engine, asked=questions, spin=st.sampled_from([0.0, 0.7, 0.9]))
def test_answer_is_of_one_engine_and_whole_or_shown_as_broken(
    plans: list[list[Script]], asked: list[dict[str, object]], spin: float
):
    with _soon():
        answers = uvloop.run(_scenario(plans, asked, spin))

    for answer, usable in answers:
        marks = set(_MARK.findall(answer.body))
        assert len(marks) <= 1, "bytes of two engines"
        if b"x-modelfleet-tier" in str(answer.headers).encode() and marks:
            assert {name.decode() for name, _ in marks} == {answer.headers["x-modelfleet-tier"]}
        if answer.headers["content-type"].startswith("text/event-stream"):
            _check_stream(answer)
        else:
            assert answer.complete
            told = orjson.loads(answer.body)
            assert ("choices" in told) == (answer.status == 200), told
        assert usable is answer.complete


def _check_stream(answer: Answer) -> None:
    events = answer.body.split(b"\n\n")
    assert events.pop() == b"", "half an event"
    ended = answer.body.count(b"[DONE]")
    if answer.complete:
        assert ended == 1
        assert events[-1] == b"data: [DONE]"
        assert b'"error"' not in answer.body
        told = re.search(rb": modelfleet tier=(\w+)", answer.body)
        marks = {name for name, _ in _MARK.findall(answer.body)}
        assert told is None or marks <= {told[1]}
    else:
        assert b'"error"' in events[-1], "a cut without a word"
