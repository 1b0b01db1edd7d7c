"""What programs see when something goes wrong: the exception that their client has for it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
from langchain_openai import ChatOpenAI

from modelfleet.router.keys import KeyRing
from tests.router.rig import (
    GOOD,
    SSE_HEAD,
    Act,
    Rig,
    cascade,
    chunk,
    engines,
    hang,
    raw,
    reply,
    router,
    tier,
    token,
    until,
)

ASKED: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
LIMITED = reply({"error": {"message": "slow down"}}, status=429, fields="Retry-After: 7\r\n")
WRONG = {"error": {"message": "temperature must be non-negative", "type": "BadRequestError", "param": "temperature", "code": 400}}  # fmt: skip


@asynccontextmanager
async def running(act: Act, **more: Any) -> AsyncIterator[Rig]:
    async with engines([act]) as (engine,):
        keys = more.pop("keys", None)
        route = cascade(tier("small", weight=1000, timeout_s=0.3), **more)
        async with router(route, {"small-svc": [engine.port]}, keys=keys) as rig:
            yield rig


def client(rig: Rig, *, key: str = "none", retries: int = 0) -> openai.AsyncOpenAI:
    url = f"http://127.0.0.1:{rig.port}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=retries, timeout=10.0)


ERRORS: dict[str, tuple[Act, dict[str, Any], type[openai.APIStatusError], int, Any]] = {
    "over the rate limit": (LIMITED, {}, openai.RateLimitError, 429, "rate_limit_exceeded"),
    "nobody can answer": (reply({}, status=500), {}, openai.InternalServerError, 503, "unavailable"),
    "nobody answers in time": (hang(), {}, openai.InternalServerError, 504, "timeout"),
    "the engine finds a fault": (reply(WRONG, status=400), {}, openai.BadRequestError, 400, "400"),
    "no such model": (reply(GOOD), {"model": "nope"}, openai.NotFoundError, 404, "model_not_found"),
    "a word where a flag belongs": (
        reply(GOOD),
        {"extra_body": {"stream": "yes"}},
        openai.BadRequestError,
        400,
        None,
    ),
    "too large": (
        reply(GOOD),
        {"user": "x" * 5000},
        openai.APIStatusError,
        413,
        "request_too_large",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("act", "more", "kind", "status", "code"), ERRORS.values(), ids=ERRORS)
async def test_error_is(
    act: Act, more: dict[str, Any], kind: type[openai.APIStatusError], status: int, code: object
):
    async with running(act, max_body_bytes=4096) as rig, client(rig) as asks:
        with pytest.raises(kind) as raised:
            await asks.chat.completions.create(**{**ASKED, **more})

    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert raised.value.message


async def test_engines_own_words_reach_the_program():
    async with running(reply(WRONG, status=400)) as rig, client(rig) as asks:
        with pytest.raises(openai.BadRequestError, match="must be non-negative") as raised:
            await asks.chat.completions.create(**ASKED)

    assert (raised.value.param, raised.value.type) == ("temperature", "BadRequestError")


@pytest.mark.parametrize("act", [LIMITED, reply({}, status=503)], ids=["429", "503"])
async def test_client_is_told_when_to_come_back(act: Act):
    async with running(act) as rig, client(rig) as asks:
        with pytest.raises(openai.APIStatusError) as raised:
            await asks.chat.completions.create(**ASKED)

    assert int(raised.value.response.headers["retry-after"]) >= 1


async def test_client_comes_back_by_itself():
    acts: Sequence[Act] = [LIMITED, reply(GOOD)]
    async with engines(acts) as (engine,):
        route = cascade(tier("small", weight=1000))
        async with (
            router(route, {"small-svc": [engine.port]}) as rig,
            client(rig, retries=1) as asks,
        ):
            answer = await asks.chat.completions.create(**ASKED)

    assert answer.choices[0].message.content == "hello"


KEYS: dict[str, tuple[str, dict[str, Any], type[openai.APIStatusError], str]] = {
    "nobody knows": ("sk-other", {}, openai.AuthenticationError, "invalid_api_key"),
    "may use another model": ("sk-known", {"models": ["code"]}, openai.PermissionDeniedError, "model_not_allowed"),
}  # fmt: skip


@pytest.mark.parametrize(("key", "entry", "kind", "code"), KEYS.values(), ids=KEYS)
async def test_key_that(
    key: str, entry: dict[str, Any], kind: type[openai.APIStatusError], code: str, tmp_path: Path
):
    digest = hashlib.sha256(b"sk-known").hexdigest()
    (tmp_path / "team").write_bytes(orjson.dumps({"sha256": digest, **entry}))
    keys = KeyRing(str(tmp_path), now=lambda: 0.0)
    async with running(reply(GOOD), keys=keys) as rig, client(rig, key=key) as asks:
        with pytest.raises(kind) as raised:
            await asks.chat.completions.create(**ASKED)

    assert raised.value.code == code


BEGUN = SSE_HEAD + chunk(token("a")) + chunk(token("b"))
BREAKS: dict[str, Act] = {
    "dies": raw(BEGUN),
    "ends without a [DONE]": raw(BEGUN + b"0\r\n\r\n"),
    "is told to stop": raw(
        BEGUN + chunk(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n')
    ),
    "says an error": raw(BEGUN + chunk(b'data: {"error":{"message":"out of memory"}}\n\n')),
    "falls silent": hang(BEGUN),
}


@pytest.mark.parametrize("act", BREAKS.values(), ids=BREAKS)
async def test_program_never_takes_half_a_stream_for_an_answer_when_the_engine(act: Act):
    async with running(act) as rig, client(rig) as asks:
        parts = await asks.chat.completions.create(**ASKED, stream=True)
        texts = [(await anext(parts)).choices[0].delta.content for _ in range(2)]
        with pytest.raises(openai.APIError):
            await anext(parts)

    assert texts == ["a", "b"]


async def test_langchain_lets_the_errors_through():
    async with running(raw(BEGUN)) as rig:
        url = f"http://127.0.0.1:{rig.port}/v1"
        model = ChatOpenAI(base_url=url, api_key="none", model="chat", max_retries=0)
        with pytest.raises(openai.APIError):
            [chunk async for chunk in model.astream("hi")]
        unknown = ChatOpenAI(base_url=url, api_key="none", model="nope", max_retries=0)
        with pytest.raises(openai.NotFoundError):
            await unknown.ainvoke("hi")


async def test_program_that_gives_up_frees_the_engine():
    async with engines([hang()]) as (engine,):
        route = cascade(tier("small", weight=1000))
        async with router(route, {"small-svc": [engine.port]}) as rig, client(rig) as asks:
            asking = asyncio.create_task(asks.chat.completions.create(**ASKED))
            await until(lambda: bool(engine.asked))
            asking.cancel()
            async with asyncio.timeout(5.0):
                await engine.asked[0].gone.wait()
