"""Answers that are judged: sent, or given up for the next tier's, and never anything in between."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule, ExternalTarget
from tests.router.judged_rig import BIG, RULE, SURE, USAGE, stats, two, whole
from tests.router.rig import (
    DONE,
    Act,
    cascade,
    engines,
    hang,
    post,
    raw,
    reply,
    router,
    stream,
    tier,
)

FIXTURES = Path(__file__).parent.parent / "fixtures"


async def test_sure_answer_is_sent_without_what_only_we_asked_for():
    async with two([reply(whole("Paris", -0.1))], [reply(whole("big"))]) as (rig, small, big):
        answer = await rig.ask(post())

        got = orjson.loads(answer.body)
        assert got == {**whole("Paris"), "choices": [{**whole("Paris")["choices"][0], "logprobs": None}]}
        assert answer.headers["x-modelfleet-tier"] == "small"
        assert answer.headers["x-modelfleet-score"] == "-0.1000"
        assert answer.headers["x-modelfleet-escalations"] == "0"
        asked = orjson.loads(small.asked[0].body)
        assert (asked["logprobs"], asked["top_logprobs"]) == (True, 0)
        assert not big.asked
        assert stats(rig, 0).judged["Accepted"] == 1


async def test_unsure_answer_moves_on_from_the_original_messages():
    async with two([reply(whole("dunno", -2.0))], [reply(whole("big"))]) as (rig, small, big):
        answer = await rig.ask(post())

        assert orjson.loads(answer.body)["choices"] == whole("big")["choices"]
        # Usage sums both tiers.
        assert orjson.loads(answer.body)["usage"] == {
            "prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26,
        }  # fmt: skip
        assert answer.headers["x-modelfleet-tier"] == "big"
        assert answer.headers["x-modelfleet-attempts"] == "2"
        assert answer.headers["x-modelfleet-escalations"] == "1"
        assert "x-modelfleet-score" not in answer.headers
        asked = orjson.loads(big.asked[0].body)
        assert asked["messages"] == orjson.loads(small.asked[0].body)["messages"]
        assert "logprobs" not in asked, "the last tier is not judged, so it is not asked"
        assert stats(rig, 0).escalated["LowScore"] == 1
        assert stats(rig, 0).attempts["Escalated"] == 1


async def test_log_probabilities_stay_for_a_client_that_asked():
    async with two([reply(whole("Paris", -0.1))], [reply(whole("big"))]) as (rig, small, _):
        answer = await rig.ask(post(logprobs=True, top_logprobs=4))

        assert orjson.loads(answer.body) == whole("Paris", -0.1)
        assert orjson.loads(small.asked[0].body)["top_logprobs"] == 4


ESCALATED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an empty answer": (whole("", -0.1), {}, "Empty"),
    "an answer cut by the engine": (whole("Par", -0.1, finish="length"), {}, "Length"),
    "a refusal": (whole("", -0.1, refusal="no"), {}, "Refused"),
    "no JSON": (whole("Paris", -0.1), {"response_format": {"type": "json_object"}}, "InvalidJson"),
    "a call of no tool of ours": (
        whole("", -0.1, tool_calls=[{"function": {"name": "rm", "arguments": "{}"}}]),
        {"tools": [{"type": "function", "function": {"name": "add"}}]},
        "UnknownTool",
    ),
    "no log probabilities": (whole("Paris"), {}, "Unscored"),
}


@pytest.mark.parametrize(("body", "fields", "reason"), ESCALATED.values(), ids=ESCALATED)
async def test_reason(body: dict[str, Any], fields: dict[str, Any], reason: str):
    async with two([reply(body)], [reply(whole("big"))]) as (rig, _, _):
        answer = await rig.ask(post(**fields))

        assert answer.headers["x-modelfleet-tier"] == "big"
        assert stats(rig, 0).escalated[reason] == 1


FAILS_LATER: dict[str, Act] = {
    "crashes": reply({"error": {}}, status=500),
    "dies": raw(),
    "hangs": hang(),
    "finds the prompt too long": reply({"error": {"message": "too long"}}, status=400),
    "is too busy": reply({"error": {}}, status=429),
}


@pytest.mark.parametrize("act", FAILS_LATER.values(), ids=FAILS_LATER)
async def test_best_answer_is_served_and_marked_when_the_last_tier(act: Act):
    async with two([reply(whole("dunno", -2.0))], [act], timeout_s=0.3) as (rig, small, _):
        answer = await rig.ask(post())

        assert answer.status == 200
        assert orjson.loads(answer.body)["choices"][0]["message"]["content"] == "dunno"
        assert orjson.loads(answer.body)["usage"] == USAGE
        assert answer.headers["x-modelfleet-tier"] == "small"
        assert answer.headers["x-modelfleet-accepted"] == "false"
        assert answer.headers["x-modelfleet-score"] == "-2.0000"
        assert len(small.asked) == 1
        assert stats(rig, 0).answered == 1
        assert stats(rig, 1).answered == 0


async def test_best_answer_is_served_at_the_deadline():
    async with two([reply(whole("dunno", -2.0))], [hang()], deadline_s=0.3) as (rig, _, _):
        answer = await rig.ask(post())

        assert (answer.status, answer.headers["x-modelfleet-accepted"]) == (200, "false")


async def test_usable_answer_is_better_than_a_surer_one_that_cannot_be_used():
    async with engines([reply(whole("", -0.1))], [reply(whole("meh", -2.0))], [raw()]) as (one, two_, three):
        route = cascade(
            tier("a", weight=1000, accept=RULE), tier("b", accept=RULE), tier("c"), max_escalations=2
        )
        ports = {"a-svc": [one.port], "b-svc": [two_.port], "c-svc": [three.port]}
        async with router(route, ports) as rig:
            answer = await rig.ask(post())

            assert orjson.loads(answer.body)["choices"][0]["message"]["content"] == "meh"
            assert answer.headers["x-modelfleet-tier"] == "b"
            assert orjson.loads(answer.body)["usage"]["total_tokens"] == 2 * 13


async def test_escalations_are_bounded_and_what_cannot_escalate_is_not_judged():
    async with engines([reply(whole("a", -2.0))], [reply(whole("b"))], [reply(whole("c"))]) as (
        one,
        two_,
        three,
    ):
        route = cascade(tier("a", weight=1000, accept=RULE), tier("b", accept=RULE), tier("c"))
        ports = {"a-svc": [one.port], "b-svc": [two_.port], "c-svc": [three.port]}
        async with router(route, ports) as rig:
            answer = await rig.ask(post())

            assert answer.headers["x-modelfleet-tier"] == "b"
            assert "logprobs" not in orjson.loads(two_.asked[0].body)
            assert not three.asked


async def test_nothing_is_judged_while_there_is_no_tier_to_move_on_to():
    async with engines([reply(whole("dunno", -2.0))]) as (small,):
        route = cascade(tier("small", weight=1000, accept=RULE), tier("big"))
        async with router(route, {"small-svc": [small.port]}) as rig:
            answer = await rig.ask(post())

            assert answer.headers["x-modelfleet-tier"] == "small"
            assert "logprobs" not in orjson.loads(small.asked[0].body)


async def test_nothing_is_judged_while_the_only_way_out_is_an_api_that_is_down():
    target = ExternalTarget("https://127.0.0.1:9/v1", None, None)
    async with engines([reply(whole("Paris", -2.0))]) as (small,):
        tiers = (tier("small", weight=1000, accept=RULE, engine="vllm"), tier("frontier", external=target))
        async with router(cascade(*tiers), {"small-svc": [small.port]}) as rig:
            steps = rig.state.fleet.lines["chat"].steps
            while steps[1].pool.stats.out == 0:
                assert (await rig.ask(post())).headers["x-modelfleet-accepted"] == "false"
            judged_before = sum(stats(rig, 0).judged.values())
            answer = await rig.ask(post())

            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "small")
            assert sum(stats(rig, 0).judged.values()) == judged_before


async def test_observed_whole_answer_is_judged_and_sent():
    async with two([reply(whole("dunno", -2.0))], [reply(whole("big"))], observe=True) as (rig, _, big):
        answer = await rig.ask(post())

        assert answer.headers["x-modelfleet-tier"] == "small"
        assert answer.headers["x-modelfleet-accepted"] == "false"
        assert (stats(rig, 0).judged["LowScore"], sum(stats(rig, 0).escalated.values())) == (1, 0)
        assert not big.asked


@pytest.mark.parametrize("name", ["llama.cpp", "vllm-0.32.0"])
async def test_recorded_whole_answer_is_scored_and_stripped(name: str):
    body = (FIXTURES / name / "chat-logprobs.http").read_bytes().split(b"\r\n\r\n", 1)[1]
    rule = AcceptRule("LowQuantileLogprob", -9.0)
    async with two([reply(body)], [reply(whole("big"))], rule=rule) as (rig, _, _):
        # The recording ends at the limit that its client had set.
        answer = await rig.ask(post(max_tokens=24))

        want = orjson.loads(body)
        want["choices"][0]["logprobs"] = None
        assert orjson.loads(answer.body) == want
        assert float(answer.headers["x-modelfleet-score"]) < -1.0


async def test_llamacpp_is_asked_in_its_own_way():
    async with two([stream(*SURE, DONE)], [stream(*BIG, DONE)], engine="llamaCpp") as (rig, small, _):
        await rig.ask(post(stream=True))
        await rig.ask(post(stream=True, tools=[{"function": {"name": "add"}}]))

        plain, tools = (orjson.loads(peer.body) for peer in small.asked)
        assert (plain["logprobs"], plain["top_logprobs"]) == (True, 1)
        assert tools["n_probs"] == 1
        assert "logprobs" not in tools
