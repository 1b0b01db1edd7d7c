"""Streams that are judged: held back, sent or stopped, and never two in one."""

import asyncio
import json
import re
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.api.route_table import AcceptRule
from modelfleet.router import judged
from modelfleet.router.relay import HELD_BYTES_MAX
from tests.router.judged_rig import BIG, ROLE, SURE, UNSURE, USAGE_EVENT, say, stats, texts, two
from tests.router.rig import (
    DONE,
    SSE_HEAD,
    Act,
    Answer,
    Peer,
    chunk,
    hang,
    post,
    raw,
    reply,
    stream,
    until,
)

FIXTURES = Path(__file__).parent.parent / "fixtures"


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
        assert stats(rig, 0).judged["Unscored"] == 0
        assert b"-0.1" not in answer.body.partition(b": modelfleet")[0], "what only we asked for"


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
        assert sum(stats(rig, 0).answer_inter_token.counts) == 1


async def test_unsure_stream_is_stopped_and_the_next_tier_streams():
    async with two([hang(SSE_HEAD, chunk(ROLE + b"".join(UNSURE)))], [stream(*BIG, USAGE_EVENT, DONE)]) as (
        rig,
        small,
        _,
    ):
        answer = await rig.ask(post(stream=True, stream_options={"include_usage": True}))

        assert texts(answer) == "b0 b1 b2 b3 b4 b5 "
        assert answer.headers["x-modelfleet-escalations"] == "1"
        await asyncio.wait_for(small.asked[0].gone.wait(), 5)
        # The stopped draft had said 6 tokens, and its prompt counts as the answer's.
        usage = next(line for line in answer.body.split(b"\n\n") if b'"usage"' in line)
        assert orjson.loads(usage[6:])["usage"] == {
            "prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
        }  # fmt: skip
        assert answer.body.endswith(b": modelfleet tier=big attempts=2 escalations=1\n\n" + DONE)
        assert [sum(stats(rig, place).answer_inter_token.counts) for place in (0, 1)] == [0, 1]


async def test_what_has_come_is_judged_when_the_time_is_over():
    async with two([hang(SSE_HEAD, chunk(ROLE + UNSURE[0]))], [stream(*BIG, DONE)], hold_s=0.05) as (
        rig,
        _,
        _,
    ):
        answer = await rig.ask(post(stream=True))

        assert texts(answer) == "b0 b1 b2 b3 b4 b5 "


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
        held = stats(rig, 0).hold_back
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
        await until(lambda: sum(stats(rig, 0).first_token.counts) == 1)
        assert not first.done()
        release.set()
        async with asyncio.timeout(5):
            assert b"x-modelfleet-score" in await first
            await reader.readuntil(b"s%d" % (tokens - 1))
        writer.close()


async def test_stream_that_dies_in_the_window_is_an_attempt_and_no_answer():
    async with two([raw(SSE_HEAD, chunk(SURE[0]))], [stream(*BIG, DONE)]) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert texts(answer) == "b0 b1 b2 b3 b4 b5 "
        assert answer.headers["x-modelfleet-escalations"] == "0"
        assert stats(rig, 0).attempts["Reset"] == 1


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

        assert texts(answer) == "b0 b1 "
        assert answer.headers["x-modelfleet-accepted"] == "false"
        assert answer.headers["x-modelfleet-tier"] == "small"
        assert answer.complete
        assert "logprobs" not in orjson.loads(small.asked[1].body)


async def test_short_stream_is_judged_when_it_ends():
    async with two([stream(SURE[0], DONE)], [stream(*BIG, DONE)]) as (rig, _, big):
        answer = await rig.ask(post(stream=True))

        assert texts(answer) == "s0 "
        assert not big.asked


JSON_SURE = [say('{"a":', -0.1), say("1", -0.1), say("}", -0.1, finish="stop")]
JSON_BAD = [say('{"a":', -0.1), say("1", -0.1), say("1", -0.1), say("1", -0.1, finish="stop")]
JSON_ASKED = {"response_format": {"type": "json_object"}, "stream": True}


async def test_structured_stream_is_judged_whole():
    async with two([stream(*JSON_BAD, DONE)], [stream(*BIG, DONE)]) as (rig, _, _):
        answer = await rig.ask(post(**JSON_ASKED))

        assert texts(answer) == "b0 b1 b2 b3 b4 b5 "
        assert stats(rig, 0).escalated["InvalidJson"] == 1


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
        await until(lambda: stats(rig, 0).in_flight == 0)


async def test_what_follows_the_end_is_passed_as_it_is():
    async with two([stream(*SURE, DONE, b": bye\n\n")], [stream(*BIG, DONE)]) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert answer.complete
        assert answer.body.count(b": modelfleet ") == 1
        assert answer.body.endswith(DONE + b": bye\n\n")


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
        assert stats(rig, 0).judged["LowScore"] == 1


@pytest.mark.parametrize("name", ["llama.cpp", "vllm-0.32.0"])
async def test_recorded_stream_is_scored_and_stripped(name: str):
    recorded = (FIXTURES / name / "chat-stream.sse").read_bytes()
    events = [event + b"\n\n" for event in recorded.split(b"\n\n") if event.strip()]
    rule = AcceptRule("MeanLogprob", -3.0)
    async with two([stream(*events)], [stream(*BIG, DONE)], rule=rule, hold_tokens=8) as (rig, _, _):
        answer = await rig.ask(post(stream=True))

        assert -2.0 < float(answer.headers["x-modelfleet-score"]) < 0.0
        assert b"top_logprobs" not in answer.body
        assert texts(answer).startswith("I'm glad ")
        assert b'"usage"' not in answer.body


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


token_events = st.lists(st.sampled_from([(-0.1, "s"), (-2.0, "u")]), max_size=6)
ends = st.sampled_from(["done", "dies", "aborts", "error"])


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

    said = set(texts(answer)) - {"-"}
    assert len(said) <= 1
    assert answer.body.count(b"[DONE]") == (1 if answer.status == 200 and answer.complete else 0)
    if answer.status == 200 and answer.complete:
        told = re.search(rb": modelfleet tier=(\w+)", answer.body)
        assert told is not None
        assert said <= {told[1].decode()[0].upper()}
