"""A small tier that is judged before a big one, and what engines say of how sure they are."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from modelfleet.api.route_table import AcceptRule
from tests.router.rig import (
    Act,
    Answer,
    Engine,
    Rig,
    cascade,
    engines,
    router,
    tier,
)

RULE = AcceptRule("MeanLogprob", -0.5)
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}


def say(text: str, logprob: float | None = None, *, finish: str | None = None) -> bytes:
    """An event with one token, as an engine sends it that was asked for log probabilities."""
    told = None if logprob is None else {"content": [{"token": text, "logprob": logprob, "top_logprobs": []}]}
    choice = {"index": 0, "delta": {"content": text}, "logprobs": told, "finish_reason": finish}
    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
USAGE_EVENT = b"data: " + orjson.dumps({"choices": [], "usage": USAGE}) + b"\n\n"
SURE = [say(f"s{number} ", -0.1) for number in range(6)]
UNSURE = [say(f"u{number} ", -2.0) for number in range(6)]
BIG = [say(f"b{number} ") for number in range(6)]


def whole(text: str, *logprobs: float, finish: str = "stop", **message: Any) -> dict[str, Any]:
    told = {"content": [{"token": "x", "logprob": logprob} for logprob in logprobs]} if logprobs else None
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "logprobs": told,
        "finish_reason": finish,
    }
    return {"object": "chat.completion", "choices": [choice], "usage": USAGE}


@asynccontextmanager
async def two(
    small: Sequence[Act], big: Sequence[Act], *, timeout_s: float = 5.0, rule: AcceptRule = RULE, **more: Any
) -> AsyncIterator[tuple[Rig, Engine, Engine]]:
    """A small tier with a rule before a big one."""
    engine = more.pop("engine", "vllm")
    async with engines(small, big) as (first, second):
        route = cascade(
            tier("small", weight=1000, accept=rule, engine=engine, timeout_s=timeout_s),
            tier("big", engine="vllm", timeout_s=timeout_s),
            **{"hold_tokens": 3, "hold_s": 5.0, **more},
        )
        async with router(route, {"small-svc": [first.port], "big-svc": [second.port]}) as rig:
            yield rig, first, second


def stats(rig: Rig, place: int) -> Any:
    return rig.state.fleet.lines["chat"].steps[place].stats


def texts(answer: Answer) -> str:
    return "".join(re.findall(r'"content":"([^"]*)"', answer.body.decode()))
