"""The stream that leaves is the stream that came, cut at events, however it was cut before."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.sse import EVENT_BYTES_MAX, EventScan

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECORDED = [
    (FIXTURES / "llama.cpp" / "chat-stream.sse").read_bytes(),
    (FIXTURES / "vllm-0.32.0" / "chat-stream.sse").read_bytes(),
]
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def _feed(pieces: list[bytes], *, keep_usage: bool = False) -> tuple[EventScan, bytes]:
    scan = EventScan(keep_usage=keep_usage)
    return scan, b"".join([scan.feed(piece) for piece in pieces])


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(at)]


@given(st.sampled_from(RECORDED), st.lists(st.integers(0, 10**6), max_size=60))
def test_recordings_pass_however_they_are_cut(recorded: bytes, cuts: list[int]):
    scan, out = _feed(_cut(recorded, cuts), keep_usage=True)

    assert out == recorded
    assert (scan.done, scan.broken, scan.usage) == (True, None, (32, 12))
    assert scan.events == recorded.count(b"\n\n") - 2  # neither usage nor the end is a token


@given(st.sampled_from(RECORDED), st.lists(st.integers(0, 10**6), max_size=60))
def test_hidden_usage_is_the_only_difference(recorded: bytes, cuts: list[int]):
    scan, out = _feed(_cut(recorded, cuts))

    events = recorded.split(b"\n\n")
    assert out.split(b"\n\n") == [event for event in events if b'"choices":[]' not in event]
    assert scan.usage == (32, 12)


@given(
    st.lists(st.sampled_from([TOKEN, USAGE, b": wait\n\n", TOKEN.replace(b"\n\n", b"\n\n\n")]), max_size=8),
    st.binary(max_size=40),
)
def test_only_whole_events_leave(events: list[bytes], tail: bytes):
    _, out = _feed([*events, tail])

    assert out == b"" or out.endswith(b"\n\n")


ROWS = {
    "a token": ([TOKEN], TOKEN, (1, False, None)),
    "two tokens in one chunk": ([TOKEN * 2], TOKEN * 2, (2, False, None)),
    "a comment is no event": ([b": wait\n\n"], b": wait\n\n", (0, False, None)),
    "an event in two pieces": ([TOKEN[:20], TOKEN[20:]], TOKEN, (1, False, None)),
    "the end": ([TOKEN, DONE], TOKEN + DONE, (1, True, None)),
    "the end without a space": ([b"data:[DONE]\n\n"], b"data:[DONE]\n\n", (0, True, None)),
    "words that only look special": (
        [TOKEN.replace(b'"a"', b'"[DONE] \\"error\\" \\"abort\\""')],
        TOKEN.replace(b'"a"', b'"[DONE] \\"error\\" \\"abort\\""'),
        (1, False, None),
    ),
    "carriage returns": (
        [TOKEN.replace(b"\n", b"\r\n"), DONE.replace(b"\n", b"\r\n")],
        (TOKEN + DONE).replace(b"\n", b"\r\n"),
        (1, True, None),
    ),
    "usage beside a choice stays": (
        [TOKEN.replace(b"]}", b'],"usage":{"prompt_tokens":1,"completion_tokens":1}}')],
        TOKEN.replace(b"]}", b'],"usage":{"prompt_tokens":1,"completion_tokens":1}}'),
        (1, False, None),
    ),
    "an abort": ([TOKEN + TOKEN.replace(b"null", b'"abort"') + DONE], TOKEN, (1, False, "Aborted")),
    "an error": ([TOKEN, b'data: {"error":{"message":"x"}}\n\n', DONE], TOKEN, (1, False, "ErrorEvent")),
    "an error behind its name": (
        [TOKEN, b'event: error\ndata: {"error":{"message":"x"}}\n\n'],
        TOKEN,
        (1, False, "ErrorEvent"),
    ),
    "events with numbers": (
        [b"id: 1\n" + TOKEN, b"id: 2\n" + DONE],
        b"id: 1\n" + TOKEN + b"id: 2\n" + DONE,
        (1, True, None),
    ),
    "a comment before an event": ([b": wait\n" + TOKEN], b": wait\n" + TOKEN, (1, False, None)),
    "an event without end": ([b"data: " + b"x" * EVENT_BYTES_MAX], b"", (0, False, "Oversized")),
}


@pytest.mark.parametrize(("pieces", "out", "state"), ROWS.values(), ids=ROWS)
def test_scan(pieces: list[bytes], out: bytes, state: tuple[int, bool, str | None]):
    scan, got = _feed(pieces)

    assert got == out
    assert (scan.events, scan.done, scan.broken) == state
