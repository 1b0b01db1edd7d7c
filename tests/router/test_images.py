"""Messages with images: passed on from an engine whose model reads text only, and which is well."""

from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule
from tests.router.rig import GOOD, Act, cascade, engines, one_tier, post, reply, router, tier

IMAGE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ],
    }
]
# Recorded from a llama.cpp server without a projector; of sound and films it says the same.
LLAMA_CPP = (
    b'{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, '
    b'you may need to provide the mmproj","type":"server_error"}}'
)
VLLM = {
    "error": {"message": "small-served is not a multimodal model", "type": "BadRequestError", "code": 400}
}
READS_TEXT = {
    "llama.cpp without a projector": reply(LLAMA_CPP, status=500, fields="Connection: close\r\n"),
    "vLLM with a model for text": reply(VLLM, status=400),
}


@pytest.mark.parametrize("accept", [None, AcceptRule("MeanLogprob", -0.5)], ids=["not judged", "judged"])
@pytest.mark.parametrize("act", READS_TEXT.values(), ids=READS_TEXT)
async def test_next_tier_is_asked_when_the_model_reads_text_only(act: Act, accept: AcceptRule | None):
    async with engines([act], [act], [reply(GOOD)]) as (one, two, big):
        route = cascade(tier("small", weight=1000, accept=accept), tier("big"))
        ports = {"small-svc": [one.port, two.port], "big-svc": [big.port]}
        async with router(route, ports) as rig:
            answers = [await rig.ask(post(messages=IMAGE)) for _ in range(12)]

            assert [answer.headers["x-modelfleet-tier"] for answer in answers] == ["big"] * 12
            assert {answer.headers["x-modelfleet-attempts"] for answer in answers} == {"2"}
            # The other replica would say the same, and both are well.
            assert len(one.asked) + len(two.asked) == 12
            pool = rig.state.fleet.lines["chat"].steps[0].pool
            assert {replica.health.in_row for replica in pool.replicas} == {0}
            assert pool.stats.out == 0


LAST: dict[str, tuple[Act, dict[str, Any]]] = {
    "llama.cpp: in our words": (
        READS_TEXT["llama.cpp without a projector"],
        {"code": "unsupported_input", "type": "invalid_request_error"},
    ),
    "vLLM: in its own": (READS_TEXT["vLLM with a model for text"], VLLM["error"]),
}


@pytest.mark.parametrize(("act", "want"), LAST.values(), ids=LAST)
async def test_client_is_told_when_no_tier_reads_images(act: Act, want: dict[str, Any]):
    async with one_tier([act]) as (rig, _):
        answer = await rig.ask(post(messages=IMAGE))

        assert answer.status == 400
        assert want.items() <= answer.error.items()


OTHER_FAULTS = {
    "a crash with an image": (IMAGE, b'{"error":{"code":500,"message":"out of memory"}}'),
    "the same words for a text": ([{"role": "user", "content": "hi"}], LLAMA_CPP),
}


@pytest.mark.parametrize(("messages", "body"), OTHER_FAULTS.values(), ids=OTHER_FAULTS)
async def test_what_is_a_fault_stays_one(messages: list[dict[str, Any]], body: bytes):
    async with engines([reply(body, status=500)], [reply(GOOD)]) as (small, big):
        route = cascade(tier("small", weight=1000), tier("big"))
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            answer = await rig.ask(post(messages=messages))

            assert answer.headers["x-modelfleet-tier"] == "big"
            assert rig.state.fleet.lines["chat"].steps[0].stats.attempts["Status5xx"] == 1


async def test_streams_go_the_same_way():
    async with engines([READS_TEXT["llama.cpp without a projector"]], [reply(GOOD)]) as (small, big):
        route = cascade(tier("small", weight=1000), tier("big"))
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            await rig.ask(post(messages=IMAGE, stream=True))

            assert orjson.loads(big.asked[0].body)["messages"] == IMAGE
