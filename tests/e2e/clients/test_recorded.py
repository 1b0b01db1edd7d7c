"""The stand-in itself: it knows its recordings again, and they come through the router byte for byte."""

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule
from tests.e2e.clients.recorded import FOLDER, body, name_of, pieces, vllm
from tests.router.rig import cascade, post, router, tier

REQUESTS = sorted(path.stem for path in (FOLDER / "recorded").glob("*.json"))
# Bodies that are none, and a model that the router would not ask it for.
ELSEWHERE = {"error-bad-json", "error-unknown-model"}


def request(name: str) -> tuple[str, dict[str, object]]:
    asked = orjson.loads((FOLDER / "recorded" / f"{name}.json").read_bytes())
    return asked["path"], asked["body"]


@pytest.mark.parametrize("name", [name for name in REQUESTS if name not in ELSEWHERE])
async def test_recording_comes_through_byte_for_byte(name: str):
    path, asked = request(name)
    assert name_of(path, asked) == name

    async with vllm() as engine:
        route = cascade(tier("small", weight=1000))
        async with router(route, {"small-svc": [engine.port]}) as rig:
            answer = await rig.ask(post({**asked, "model": "chat"}, path=path))

    if name == "error-embeddings":
        assert (answer.status, answer.error["code"]) == (404, "unsupported_endpoint")
        return
    assert answer.complete
    assert answer.body == body(engine.said[0])
    assert answer.status == int(engine.said[0].split()[1])
    assert engine.asked == [{**asked, "model": "small-served"}]


def test_chunks_are_the_engines_own():
    answer = (FOLDER / "recorded" / "chat-stream.http").read_bytes()

    assert b"".join(pieces(answer)) == answer
    assert len(pieces(answer)) > 15


async def test_aborted_answer_is_asked_for_again_elsewhere():
    async with vllm("chat-abort", chat="chat-abort") as stops, vllm() as well:
        route = cascade(tier("small", weight=1000), tier("big"))
        async with router(route, {"small-svc": [stops.port], "big-svc": [well.port]}) as rig:
            answer = await rig.ask(post())

    assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "big")


JUDGED = {
    "arguments that do not fit the tool's schema": ("chat-tool-required", "ToolArguments"),
    "structured output that ran into its limit": ("chat-schema", "Length"),
}


@pytest.mark.parametrize(("name", "reason"), JUDGED.values(), ids=JUDGED)
async def test_what_the_small_model_got_wrong_is_seen(name: str, reason: str):
    path, asked = request(name)
    async with vllm() as small, vllm(name) as big:
        rule = AcceptRule("MeanLogprob", -100.0)
        route = cascade(tier("small", weight=1000, accept=rule, engine="vllm"), tier("big", engine="vllm"))
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            answer = await rig.ask(post({**asked, "model": "chat"}, path=path))
            escalated = rig.state.fleet.lines["chat"].steps[0].stats.escalated[reason]

    assert (answer.headers["x-modelfleet-tier"], escalated) == ("big", 1)
    want = orjson.loads(body(big.said[0]))
    assert orjson.loads(answer.body)["choices"] == want["choices"]
