"""Paths, methods, bodies: what the router answers by itself."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.router.rig import GOOD, Answer, Rig, cascade, engines, one_tier, post, raw, reply, router, tier

FIXTURES = Path(__file__).parent.parent / "fixtures"

BAD_BODIES: dict[str, tuple[bytes, int, str | None]] = {
    "empty": (b"", 400, None),
    "cut short": (b'{"model":"chat"', 400, None),
    "no object": (b"[]", 400, None),
    "bad UTF-8": (b'{"model":"chat","messages":"\xff\xfe"}', 400, None),
    "NaN": (b'{"model":"chat","temperature":NaN}', 400, None),
    "nested without end": (b'{"model":"chat","messages":' + b"[" * 900 + b"]" * 900 + b"}", 400, None),
    "nested a little less": (b'{"model":"chat","messages":' + b"[" * 300 + b"]" * 300 + b"}", 400, None),
    "no model": (b"{}", 400, "model"),
    "model is a number": (b'{"model":1}', 400, "model"),
    "stream is a word": (b'{"model":"chat","stream":"yes"}', 400, "stream"),
    "stream options are a list": (b'{"model":"chat","stream_options":[]}', 400, "stream_options"),
    "unknown model": (b'{"model":"chatt"}', 404, "model"),
    "over the Cascade's limit": (b'{"model":"chat","messages":"' + b"x" * 3000 + b'"}', 413, None),
}


@pytest.mark.parametrize(("body", "status", "param"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_bad_body_is_explained(body: bytes, status: int, param: str | None):
    async with one_tier([reply(GOOD)], max_body_bytes=2048) as (rig, (engine,)):
        answer = await rig.ask(post(body, fields=""))

        assert (answer.status, answer.error["param"]) == (status, param)
        assert not engine.asked
        assert [status for _, status in rig.state.metrics.refused] == [str(answer.status)]


async def test_unknown_model_names_what_there_is():
    async with one_tier([reply(GOOD)]) as (rig, _):
        answer = await rig.ask(post({"model": "gpt-5"}))

        assert answer.error["code"] == "model_not_found"
        assert answer.error["message"] == "The model `gpt-5` does not exist. Models here: chat."


PATHS: dict[str, tuple[bytes, int]] = {
    "models": (b"GET /v1/models", 200),
    "alive": (b"GET /healthz", 200),
    "metrics are on their own port": (b"GET /metrics", 404),
    "an engine's own path": (b"GET /slots", 404),
    "an engine's path in disguise": (b"GET /v1/chat/../../metrics", 404),
    "encoded dots": (b"GET /v1/%2e%2e/metrics", 404),
    "wrong method for a completion": (b"GET /v1/chat/completions", 405),
    "wrong method for models": (b"DELETE /v1/models", 405),
    "the root": (b"GET /", 404),
}


@pytest.mark.parametrize(("line", "status"), PATHS.values(), ids=PATHS)
async def test_paths(line: bytes, status: int):
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        answer = await rig.ask(line + b" HTTP/1.1\r\nhost: r\r\n\r\n")

        assert answer.status == status
        assert not engine.asked


async def test_models_are_listed():
    async with one_tier([reply(GOOD)]) as (rig, _):
        answer = await rig.ask(b"GET /v1/models HTTP/1.1\r\nhost: r\r\n\r\n")

        listed: list[dict[str, Any]] = orjson.loads(answer.body)["data"]
        assert [model["id"] for model in listed] == ["chat"]


async def test_readiness_tells_why_not():
    async with one_tier([reply(GOOD)]) as (rig, _):
        get = b"GET /readyz HTTP/1.1\r\nhost: r\r\n\r\n"
        before = await rig.ask(get)
        rig.state.listening = True
        ready = await rig.ask(get)
        rig.state.draining = True
        leaving = await rig.ask(get)

        assert [answer.status for answer in (before, ready, leaving)] == [503, 200, 503]
        assert orjson.loads(leaving.body) == {"status": "draining"}


CHOICES = {"choose_tier": True, "choose_floor": True}


async def _chosen(rig: Rig, fields: str) -> Answer:
    return await rig.ask(post(fields=f"connection: close\r\n{fields}"))


async def test_a_request_chooses_its_tier_and_the_engine_does_not_hear_of_it():
    async with engines([reply(GOOD)], [reply(GOOD)]) as (small, big):
        route = cascade(tier("small", weight=1000), tier("big"), **CHOICES)
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            answer = await _chosen(rig, "X-ModelFleet-Tier: big\r\n")
            floored = await _chosen(rig, "x-modelfleet-min-tier: big\r\nx-modelfleet-other: 1\r\n")

            assert answer.headers["x-modelfleet-tier"] == floored.headers["x-modelfleet-tier"] == "big"
            assert not small.asked
            assert not any(b"modelfleet" in asked.head.lower() for asked in big.asked)


async def test_a_chosen_tier_that_fails_is_not_replaced_by_another():
    async with engines([reply(GOOD)], [raw()], [reply(GOOD)]) as (small, medium, big):
        route = cascade(tier("small", weight=1000), tier("medium"), tier("big"), **CHOICES)
        ports = {"small-svc": [small.port], "medium-svc": [medium.port], "big-svc": [big.port]}
        async with router(route, ports) as rig:
            exact = await _chosen(rig, "x-modelfleet-tier: medium\r\n")
            floored = await _chosen(rig, "x-modelfleet-min-tier: medium\r\n")

            assert (exact.status, floored.status) == (503, 200)
            assert floored.headers["x-modelfleet-tier"] == "big"
            assert not small.asked


async def test_a_choice_that_is_not_allowed_is_refused_and_not_ignored():
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        answer = await _chosen(rig, "x-modelfleet-tier: small\r\n")

        assert (answer.status, answer.error["code"]) == (400, "tier_choice_not_allowed")
        assert not engine.asked


TOO_LONG = (
    (FIXTURES / "vllm-0.32.0" / "error-too-long.http").read_bytes().partition(b"\r\n\r\n")[2]
)  # for 2048


async def test_what_an_engine_finds_too_long_goes_to_a_longer_one():
    async with engines([reply(TOO_LONG, status=400)], [reply(GOOD)], [reply(GOOD)]) as (small, short, long):
        route = cascade(
            tier("small", weight=1000), tier("short", context_tokens=1024), tier("long", context_tokens=4096)
        )
        ports = {"small-svc": [small.port], "short-svc": [short.port], "long-svc": [long.port]}
        async with router(route, ports) as rig:
            answer = await rig.ask(post())

            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "long")
            assert (len(small.asked), len(short.asked), len(long.asked)) == (1, 0, 1)
            step = rig.state.fleet.lines["chat"].steps[0]
            assert step.stats.attempts["TooLong"] == 1
            assert step.pool.replicas[0].health.in_row == 0


async def test_what_is_too_long_for_all_is_told_by_the_engine_that_held_most():
    longer = TOO_LONG.replace(b"2048", b"4096")
    async with engines([reply(TOO_LONG, status=400)], [reply(longer, status=400)]) as (small, big):
        route = cascade(tier("small", weight=1000, context_tokens=2048), tier("big"))
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            answer = await rig.ask(post(stream=True))

            assert (answer.status, answer.body) == (400, longer)
            assert (len(small.asked), len(big.asked)) == (1, 1)


async def test_what_surely_is_too_long_is_not_sent_at_all():
    async with one_tier([reply(GOOD)], context_tokens=64) as (rig, (engine,)):
        answer = await rig.ask(post(messages=[{"role": "user", "content": "word " * 100}]))

        assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
        assert not engine.asked
