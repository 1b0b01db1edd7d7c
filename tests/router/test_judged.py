"""Answers that are judged: sent, or given up for the next tier's, and never anything in between."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.api.route_table import AcceptRule, ExternalTarget
from modelfleet.router import judged
from modelfleet.router.relay import HELD_BYTES_MAX
from tests.router.rig import (
    DONE,
    SSE_HEAD,
    Act,
    Answer,
    Engine,
    Peer,
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
    until,
)

FIXTURES = Path(__file__).parent.parent / "fixtures"
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


def _stats(rig: Rig, place: int) -> Any:
    return rig.state.fleet.lines["chat"].steps[place].stats


def _texts(answer: Answer) -> str:
    return "".join(re.findall(r'"content":"([^"]*)"', answer.body.decode()))


def lines(event: bytes) -> bytes:
    """The same event with its data on many lines, as the standard allows."""
    pretty = json.dumps(orjson.loads(event[5:]), indent=1)
    return b"".join(b"data: %b\n" % line for line in pretty.encode().splitlines()) + b"\n"


@pytest.mark.parametrize(("said", "want"), [(SURE, "small"), (UNSURE, "big")], ids=["sure", "unsure"])
async def test_data_on_several_lines_is_judged_alike(said: list[bytes], want: str):
    small = stream(*map(lines, [*said, USAGE_EVENT]), DONE)
    async with two([small], [stream(*BIG, DONE)]) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert answer.headers["x-modelfleet-tier"] == want
        assert _stats(rig, 0).judged["Unscored"] == 0
        assert b"-0.1" not in answer.body.partition(b": modelfleet")[0], "what only we asked for"


# Whole answers.


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
        assert _stats(rig, 0).judged["Accepted"] == 1


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
        assert _stats(rig, 0).escalated["LowScore"] == 1
        assert _stats(rig, 0).attempts["Escalated"] == 1


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
        assert _stats(rig, 0).escalated[reason] == 1


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
        assert _stats(rig, 0).answered == 1
        assert _stats(rig, 1).answered == 0


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


# Streams.


async def test_nothing_is_judged_while_the_only_way_out_is_an_api_that_is_down():
    target = ExternalTarget("https://127.0.0.1:9/v1", None, None)
    async with engines([reply(whole("Paris", -2.0))]) as (small,):
        tiers = (tier("small", weight=1000, accept=RULE, engine="vllm"), tier("frontier", external=target))
        async with router(cascade(*tiers), {"small-svc": [small.port]}) as rig:
            steps = rig.state.fleet.lines["chat"].steps
            while steps[1].pool.stats.out == 0:
                assert (await rig.ask(post())).headers["x-modelfleet-accepted"] == "false"
            judged_before = sum(_stats(rig, 0).judged.values())
            answer = await rig.ask(post())

            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "small")
            assert sum(_stats(rig, 0).judged.values()) == judged_before


async def test_sure_stream_is_sent_whole():
    act = stream(ROLE, *SURE, USAGE_EVENT, DONE)
    async with two([act], [stream(*BIG, DONE)]) as (rig, small, big):
        answer = await rig.ask(post(stream=True))

        bare = b"".join(
            event.replace(event[event.find(b'"logprobs"') : event.find(b',"finish')], b'"logprobs":null')
            for event in SURE
        )
        note = b": modelfleet tier=small attempts=1 escalations=0 score=-0.1000\n\n"
        assert answer.body == ROLE + bare + note + DONE
        assert answer.complete
        assert answer.headers["x-modelfleet-score"] == "-0.1000"
        assert not big.asked
        assert orjson.loads(small.asked[0].body)["logprobs"] is True
        assert sum(_stats(rig, 0).answer_inter_token.counts) == 1


async def test_unsure_stream_is_stopped_and_the_next_tier_streams():
    async with two([hang(SSE_HEAD, chunk(ROLE + b"".join(UNSURE)))], [stream(*BIG, USAGE_EVENT, DONE)]) as (
        rig,
        small,
        _,
    ):
        answer = await rig.ask(post(stream=True, stream_options={"include_usage": True}))

        assert _texts(answer) == "b0 b1 b2 b3 b4 b5 "
        assert answer.headers["x-modelfleet-escalations"] == "1"
        await asyncio.wait_for(small.asked[0].gone.wait(), 5)
        # The stopped draft had said 6 tokens, and its prompt counts as the answer's.
        usage = next(line for line in answer.body.split(b"\n\n") if b'"usage"' in line)
        assert orjson.loads(usage[6:])["usage"] == {
            "prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
        }  # fmt: skip
        assert answer.body.endswith(b": modelfleet tier=big attempts=2 escalations=1\n\n" + DONE)
        assert [sum(_stats(rig, place).answer_inter_token.counts) for place in (0, 1)] == [0, 1]


async def test_what_has_come_is_judged_when_the_time_is_over():
    async with two([hang(SSE_HEAD, chunk(ROLE + UNSURE[0]))], [stream(*BIG, DONE)], hold_s=0.05) as (
        rig,
        _,
        _,
    ):
        answer = await rig.ask(post(stream=True))

        assert _texts(answer) == "b0 b1 b2 b3 b4 b5 "


async def test_sure_beginning_is_sent_when_the_time_is_over():
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.send(SSE_HEAD + chunk(SURE[0]))
        await release.wait()
        await peer.send(chunk(SURE[1]) + chunk(DONE) + b"0\r\n\r\n")

    async with two([slow], [stream(*BIG, DONE)], hold_s=0.05) as (rig, _, _):
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            first = await reader.readuntil(b"\n\n")
        release.set()

        assert b"x-modelfleet-score: -0.1000" in head
        assert b"s0" in first
        writer.close()
        held = _stats(rig, 0).hold_back
        assert sum(held.counts) == 1
        assert held.sum_s > 0.04


@pytest.mark.parametrize("tokens", [1, 2, 5])
async def test_the_verdict_falls_with_the_last_token_of_the_window(tokens: int):
    """Not one token later: holding K tokens costs the time of K-1."""
    release = asyncio.Event()

    async def act(peer: Peer) -> None:
        await peer.send(SSE_HEAD + chunk(ROLE) + b"".join(map(chunk, SURE[: tokens - 1])))
        await release.wait()
        await peer.send(chunk(SURE[tokens - 1]))
        await peer.reader.read()

    async with two([act], [stream(*BIG, DONE)], hold_s=600.0, hold_tokens=tokens) as (rig, _, _):
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        first = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        await until(lambda: sum(_stats(rig, 0).first_token.counts) == 1)
        assert not first.done()
        release.set()
        async with asyncio.timeout(5):
            assert b"x-modelfleet-score" in await first
            await reader.readuntil(b"s%d" % (tokens - 1))
        writer.close()


async def test_stream_that_dies_in_the_window_is_an_attempt_and_no_answer():
    async with two([raw(SSE_HEAD, chunk(SURE[0]))], [stream(*BIG, DONE)]) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert _texts(answer) == "b0 b1 b2 b3 b4 b5 "
        assert answer.headers["x-modelfleet-escalations"] == "0"
        assert _stats(rig, 0).attempts["Reset"] == 1


async def test_stream_that_breaks_after_the_verdict_is_shown_as_broken():
    async with two([raw(SSE_HEAD, *map(chunk, SURE))], [stream(*BIG, DONE)]) as (rig, _, big):
        answer = await rig.ask(post(stream=True))

        assert not answer.complete
        assert b'data: {"error"' in answer.body
        assert b"[DONE]" not in answer.body
        assert not big.asked


async def test_stopped_tier_is_asked_again_when_nothing_better_answers():
    acts = [hang(SSE_HEAD, chunk(b"".join(UNSURE))), stream(*BIG[:2], DONE)]
    async with two(acts, [raw()]) as (rig, small, _):
        answer = await rig.ask(post(stream=True))

        assert _texts(answer) == "b0 b1 "
        assert answer.headers["x-modelfleet-accepted"] == "false"
        assert answer.headers["x-modelfleet-tier"] == "small"
        assert answer.complete
        assert "logprobs" not in orjson.loads(small.asked[1].body)


async def test_short_stream_is_judged_when_it_ends():
    async with two([stream(SURE[0], DONE)], [stream(*BIG, DONE)]) as (rig, _, big):
        answer = await rig.ask(post(stream=True))

        assert _texts(answer) == "s0 "
        assert not big.asked


JSON_SURE = [say('{"a":', -0.1), say("1", -0.1), say("}", -0.1, finish="stop")]
JSON_BAD = [say('{"a":', -0.1), say("1", -0.1), say("1", -0.1), say("1", -0.1, finish="stop")]
JSON_ASKED = {"response_format": {"type": "json_object"}, "stream": True}


async def test_structured_stream_is_judged_whole():
    async with two([stream(*JSON_BAD, DONE)], [stream(*BIG, DONE)]) as (rig, _, _):
        answer = await rig.ask(post(**JSON_ASKED))

        assert _texts(answer) == "b0 b1 b2 b3 b4 b5 "
        assert _stats(rig, 0).escalated["InvalidJson"] == 1


async def test_structured_stream_that_was_kept_is_served_when_nothing_better_comes():
    async with two([stream(*JSON_BAD, USAGE_EVENT, DONE)], [raw()]) as (rig, small, _):
        answer = await rig.ask(post(**JSON_ASKED))

        assert answer.complete
        assert len(small.asked) == 1
        assert answer.body.count(b'"content"') == len(JSON_BAD)
        assert answer.body.endswith(b"escalations=1 score=-0.1000 accepted=false\n\n" + DONE)


async def test_comments_keep_a_stream_alive_that_is_judged_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judged, "KEEP_ALIVE_S", 0.03)
    seen = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.send(SSE_HEAD + chunk(JSON_SURE[0]))
        await seen.wait()
        await peer.send(b"".join(map(chunk, [*JSON_SURE[1:], DONE])) + b"0\r\n\r\n")

    async with two([slow], [stream(*BIG, DONE)]) as (rig, _, _):
        reader, writer = await rig.connect()
        writer.write(post(**JSON_ASKED))
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert await reader.readuntil(b"\n\n\r\n") == b"11\r\n: still at work\n\n\r\n"
            seen.set()
            rest = await reader.readuntil(b"0\r\n\r\n")
        writer.close()

        assert b"text/event-stream" in head
        assert b"x-modelfleet-tier" not in head, "no tier has answered yet"
        assert b": modelfleet tier=small attempts=1 escalations=0 score=-0.1000" in rest


async def test_error_after_a_comment_is_an_event_and_no_clean_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judged, "KEEP_ALIVE_S", 0.03)
    async with two([hang(SSE_HEAD, chunk(JSON_SURE[0]))], [hang()], timeout_s=0.15) as (rig, _, _):
        answer = await rig.ask(post(**JSON_ASKED))

        assert answer.status == 200
        assert answer.body.startswith(b": still at work\n\n")
        assert b'data: {"error":{' in answer.body
        assert b"[DONE]" not in answer.body
        assert not answer.complete


async def test_no_whole_answer_follows_a_comment_however_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judged, "KEEP_ALIVE_S", 0.03)
    asked = asyncio.Event()

    async def huge(peer: Peer) -> None:
        await asked.wait()
        await reply({"choices": [], "more": "x" * HELD_BYTES_MAX})(peer)

    async with two([huge], [stream(*BIG, DONE)]) as (rig, _, _):
        reader, writer = await rig.connect()
        writer.write(post(**JSON_ASKED))
        async with asyncio.timeout(5):
            await reader.readuntil(b"still at work\n\n\r\n")
            asked.set()
            rest = await reader.readuntil(b"0\r\n\r\n")
        writer.close()

        assert b"xxx" not in rest
        assert b": modelfleet tier=big attempts=2" in rest


async def test_client_that_leaves_during_the_hold_stops_the_engine():
    async with two([hang(SSE_HEAD, chunk(SURE[0]))], [stream(*BIG, DONE)]) as (rig, small, _):
        _, writer = await rig.connect()
        writer.write(post(stream=True))
        await until(lambda: len(small.asked) == 1)
        writer.close()

        await asyncio.wait_for(small.asked[0].gone.wait(), 5)
        await until(lambda: _stats(rig, 0).in_flight == 0)


async def test_what_follows_the_end_is_passed_as_it_is():
    async with two([stream(*SURE, DONE, b": bye\n\n")], [stream(*BIG, DONE)]) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert answer.complete
        assert answer.body.count(b": modelfleet ") == 1
        assert answer.body.endswith(DONE + b": bye\n\n")


# Observing.


async def test_observed_whole_answer_is_judged_and_sent():
    async with two([reply(whole("dunno", -2.0))], [reply(whole("big"))], observe=True) as (rig, _, big):
        answer = await rig.ask(post())

        assert answer.headers["x-modelfleet-tier"] == "small"
        assert answer.headers["x-modelfleet-accepted"] == "false"
        assert (_stats(rig, 0).judged["LowScore"], sum(_stats(rig, 0).escalated.values())) == (1, 0)
        assert not big.asked


async def test_observed_stream_is_not_held_back():
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.send(SSE_HEAD + chunk(UNSURE[0]))
        await release.wait()
        await peer.send(b"".join(map(chunk, [*UNSURE[1:], DONE])) + b"0\r\n\r\n")

    async with two([slow], [stream(*BIG, DONE)], observe=True, hold_s=60.0) as (rig, _, big):
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        async with asyncio.timeout(5):
            first = await reader.readuntil(b"\n\n")
            release.set()
            rest = await reader.readuntil(b"0\r\n\r\n")
        writer.close()

        assert b"u0" in first or b"HTTP/1.1 200" in first
        assert b"score=-2.0000 accepted=false" in rest
        assert not big.asked
        assert _stats(rig, 0).judged["LowScore"] == 1


# Engines as they are.


@pytest.mark.parametrize("name", ["llama.cpp", "vllm-0.32.0"])
async def test_recorded_stream_is_scored_and_stripped(name: str):
    recorded = (FIXTURES / name / "chat-stream.sse").read_bytes()
    events = [event + b"\n\n" for event in recorded.split(b"\n\n") if event.strip()]
    rule = AcceptRule("MeanLogprob", -3.0)
    async with two([stream(*events)], [stream(*BIG, DONE)], rule=rule, hold_tokens=8) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert -2.0 < float(answer.headers["x-modelfleet-score"]) < 0.0
        assert b"top_logprobs" not in answer.body
        assert _texts(answer).startswith("I'm glad ")
        assert b'"usage"' not in answer.body


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


# The law.

token_events = st.lists(st.sampled_from([(-0.1, "s"), (-2.0, "u")]), max_size=6)
ends = st.sampled_from(["done", "dies", "aborts", "error"])


def _script(tokens: list[tuple[float, str]], end: str, mark: str) -> Act:
    events = [ROLE, *(say(mark, logprob) for logprob, _ in tokens)]
    if end == "done":
        return stream(*events, USAGE_EVENT, DONE)
    if end == "aborts":
        return stream(
            *events, b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n', DONE
        )
    if end == "error":
        return stream(*events, b'data: {"error":{"message":"boom"}}\n\n')
    return raw(SSE_HEAD, *map(chunk, events))


@settings(max_examples=40, deadline=None)
@given(
    small=token_events,
    big=token_events,
    small_end=ends,
    big_end=ends,
    whole_=st.booleans(),
    observe=st.booleans(),
)
def test_no_answer_has_bytes_of_two_tiers(
    small: list[tuple[float, str]],
    big: list[tuple[float, str]],
    small_end: str,
    big_end: str,
    *,
    whole_: bool,
    observe: bool,
):
    async def scenario() -> Answer:
        acts = [_script(small, small_end, "S")], [_script(big, big_end, "B")]
        fields = JSON_ASKED if whole_ else {"stream": True}
        async with two(*acts, observe=observe, timeout_s=2.0) as (rig, _, _):
            return await rig.ask(post(**fields))

    answer = asyncio.run(scenario())

    said = set(_texts(answer)) - {"-"}
    assert len(said) <= 1
    assert answer.body.count(b"[DONE]") == (1 if answer.status == 200 and answer.complete else 0)
    if answer.status == 200 and answer.complete:
        told = re.search(rb": modelfleet tier=(\w+)", answer.body)
        assert told is not None
        assert said <= {told[1].decode()[0].upper()}
