"""Embeddings: routed like completions, never judged, and moved on from a tier whose engine gives none."""

from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule
from tests.router.rig import Answer, cascade, engines, one_tier, post, reply, router, stream, tier

VECTORS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}],
    "model": "small-served",
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}
# Recorded from a llama.cpp server that was started without --embeddings.
LLAMA_CPP_WITHOUT = (
    b'{"error":{"code":501,"message":"This server does not support embeddings. '
    b'Start it with `--embeddings`","type":"not_supported_error"}}'
)


def embed(**fields: Any) -> bytes:
    return post({"model": "chat", "input": "hello", **fields}, path="/v1/embeddings")


async def test_answer_comes_back_as_it_is():
    async with one_tier([reply(VECTORS)]) as (rig, (engine,)):
        answer = await rig.ask(embed(input=["a", "b"], encoding_format="base64", dimensions=64))

        assert answer.body == orjson.dumps(VECTORS)
        assert answer.headers["x-modelfleet-tier"] == "small"
        assert engine.asked[0].head.startswith(b"POST /v1/embeddings HTTP/1.1")
        assert orjson.loads(engine.asked[0].body) == {
            "model": "small-served", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 64,
        }  # fmt: skip
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        assert (stats.answered, stats.tokens_in, stats.tokens_out) == (1, 5, 0)


async def test_accept_rule_does_not_apply():
    async with engines([reply(VECTORS)], [reply(VECTORS)]) as (small, big):
        rule = AcceptRule("MeanLogprob", -0.5)
        route = cascade(tier("small", weight=1000, accept=rule), tier("big"))
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            answer = await rig.ask(embed())

            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "small")
            assert "logprobs" not in orjson.loads(small.asked[0].body)
            assert not big.asked


HAS_NONE = {
    "llama.cpp without --embeddings": reply(LLAMA_CPP_WITHOUT, status=501),
    "vLLM with a model that generates": reply({"detail": "Not Found"}, status=404),
}


@pytest.mark.parametrize("act", HAS_NONE.values(), ids=HAS_NONE)
async def test_next_tier_is_asked_when_the_engine_is(act: Any):
    async with engines([act], [act], [reply(VECTORS)]) as (one, two, big):
        route = cascade(tier("small", weight=1000), tier("big"))
        ports = {"small-svc": [one.port, two.port], "big-svc": [big.port]}
        async with router(route, ports) as rig:
            answers = [await rig.ask(embed()) for _ in range(8)]

            assert [answer.headers["x-modelfleet-tier"] for answer in answers] == ["big"] * 8
            # The other replica would say the same, and both are well.
            assert len(one.asked) + len(two.asked) == 8
            states = {
                replica.health.state for replica in rig.state.fleet.lines["chat"].steps[0].pool.replicas
            }
            assert states == {"In"}


@pytest.mark.parametrize("act", HAS_NONE.values(), ids=HAS_NONE)
async def test_client_is_told_when_no_tier_gives_any(act: Any):
    async with one_tier([act]) as (rig, _):
        answer = await rig.ask(embed())

        assert (answer.status, answer.error["code"]) == (404, "unsupported_endpoint")


async def test_tier_that_is_away_might_give_some():
    async with engines([reply(LLAMA_CPP_WITHOUT, status=501)]) as (small,):
        route = cascade(tier("small", weight=1000), tier("big"))
        async with router(route, {"small-svc": [small.port]}) as rig:
            answer = await rig.ask(embed())

            assert (answer.status, answer.error["code"]) == (503, "unavailable")


async def _refusal(**fields: Any) -> Answer:
    async with one_tier([stream()]) as (rig, (engine,)):
        answer = await rig.ask(embed(**fields))

        assert not engine.asked
        return answer


async def test_they_are_not_streamed():
    answer = await _refusal(stream=True)

    assert (answer.status, answer.error["param"]) == (400, "stream")


async def test_unknown_model():
    assert (await _refusal(model="nope")).status == 404


@pytest.mark.parametrize("prefix", [0, 64])
async def test_texts_that_begin_alike_share_a_replica(prefix: int):
    async with one_tier([reply(VECTORS)], [reply(VECTORS)], prefix_characters=prefix) as (rig, found):
        for number in range(40):
            await rig.ask(embed(input=f"text {number}"))

        assert all(engine.asked for engine in found), "texts that differ are spread"
