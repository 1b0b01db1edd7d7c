"""A judge that lets a broken answer pass would make "0 failed" mean nothing."""

import json
from dataclasses import replace

import pytest

from e2e.load.outcome import Outcome, judge_plain, judge_stream, tokens_of
from e2e.load.tally import Tally


def chunk(content: str | None = None, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
WHOLE = chunk(None) + chunk("Hel") + chunk("lo") + chunk(finish="stop")

STREAMS = {
    "whole: fine": (WHOLE + DONE, ""),
    "cut by its length: fine": (chunk("Hello") + chunk(finish="length") + DONE, ""),
    "comments between events: fine": (b": ping\n\n" + WHOLE + DONE, ""),
    "empty": (b"", "the stream ended without [DONE]"),
    "breaks off after a token": (chunk("Hel"), "the stream ended without [DONE]"),
    "finishes but never says done": (WHOLE, "the stream ended without [DONE]"),
    "done without a finish reason": (chunk("Hello") + DONE, "the stream finished with no reason"),
    "the engine gave up": (chunk("Hel", finish="abort") + DONE, "the stream finished with ['abort']"),
    "an error event": (chunk("Hel") + b'data: {"error": {"message": "broken"}}\n\n', "error event: broken"),
    "an error event before done": (
        b'data: {"error": {"message": "broken"}}\n\n' + DONE,
        "error event: broken",
    ),
    "half an event": (WHOLE + b'data: {"cho', "an event is not JSON"),
}


@pytest.mark.parametrize(("body", "failure"), STREAMS.values(), ids=STREAMS)
def test_stream(body: bytes, failure: str) -> None:
    assert judge_stream(body)[0] == failure


def test_stream_keeps_the_text() -> None:
    assert judge_stream(WHOLE + DONE) == ("", "Hello")


def whole(finish: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": finish}]}).encode()


PLAIN = {
    "whole: fine": (whole("stop"), ""),
    "cut by its length: fine": (whole("length"), ""),
    "the engine gave up": (whole("abort"), "finish_reason 'abort'"),
    "half a body": (whole("stop")[:-3], "not a chat completion"),
    "an error with status 200": (b'{"error": {"message": "x"}}', "not a chat completion"),
    "no choice": (b'{"choices": []}', "not a chat completion"),
    "not even an object": (b"[]", "not a chat completion"),
}


@pytest.mark.parametrize(("body", "failure"), PLAIN.values(), ids=PLAIN)
def test_plain(body: bytes, failure: str) -> None:
    said = judge_plain(body)[0]

    assert said.startswith(failure) if failure else said == ""


def test_tally_counts_every_request_once() -> None:
    tally = Tally(sent=4)
    tally.add(Outcome(stream=True, status=200, tier="small", attempts=1, ttft_s=0.2))
    tally.add(Outcome(stream=False, status=200, tier="medium", attempts=2))
    tally.add(Outcome(stream=False, status=503, failure="status 503"))

    report = tally.report([Outcome(stream=True, tier="small")])

    counts = {name: report[name] for name in ("sent", "finished", "failed", "retried", "streams", "underWay")}
    assert counts == {"sent": 4, "finished": 3, "failed": 1, "retried": 1, "streams": 1, "underWay": 1}
    assert (report["tiers"], report["open"]) == ({"small": 1, "medium": 1}, {"small": 1})
    assert [failure["failure"] for failure in report["failures"]] == ["status 503"]


IN_TIME = Outcome(stream=True, ttft_s=0.2, duration_s=0.4, tokens=11)

OBJECTIVES = {
    "both kept": (IN_TIME, True),
    "first token too late": (replace(IN_TIME, ttft_s=0.6, duration_s=0.8), False),
    "tokens too far apart": (replace(IN_TIME, duration_s=0.9), False),
    "it does not say how many tokens: the first one counts": (replace(IN_TIME, tokens=0), True),
    "one token has no gap": (replace(IN_TIME, tokens=1), True),
    "failed in good time": (replace(IN_TIME, failure="status 503"), False),
    "no byte came": (replace(IN_TIME, ttft_s=None), False),
}


@pytest.mark.parametrize(("outcome", "good"), OBJECTIVES.values(), ids=OBJECTIVES)
def test_objectives(outcome: Outcome, *, good: bool) -> None:
    assert outcome.within(ttft_s=0.5, itl_s=0.05) == good


def test_tokens_are_those_of_the_last_event() -> None:
    assert (
        tokens_of(b'data: {"usage": {"completion_tokens":3}}\n\ndata: {"usage":{"completion_tokens": 7}}')
        == 7
    )
    assert tokens_of(WHOLE + DONE) == 0
