import orjson
import pytest

from modelfleet.route import answer

FAILURES = {200: None, 204: None, 302: "Redirect", 400: None, 401: "Unauthorized", 404: "NotFound", 413: None}
FAILURES |= {
    422: None,
    429: "RateLimited",
    500: "Status5xx",
    501: "Unsupported",
    503: "Status5xx",
    599: "Status5xx",
}


@pytest.mark.parametrize(("status", "want"), FAILURES.items())
def test_failure(status: int, want: str | None):
    assert answer.failure(status) == want


GOOD = {
    "choices": [{"finish_reason": "stop", "message": {"content": "ok"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}
FAULTS = {
    "an answer": (GOOD, True, None),
    "an answer about aborts": ({**GOOD, "choices": [{"message": {"content": '"abort"'}}]}, True, None),
    "an abort": ({**GOOD, "choices": [{"finish_reason": "abort"}]}, True, "Aborted"),
    "an error": ({"error": {"message": "no"}}, True, "ErrorBody"),
    "an error that is none": ({**GOOD, "error": None}, True, None),
    "whole without a length": (GOOD, False, None),
}


@pytest.mark.parametrize(("body", "length_known", "want"), FAULTS.values(), ids=FAULTS)
def test_fault(body: object, length_known: bool, want: str | None):  # noqa: FBT001 - a row
    assert answer.fault(orjson.dumps(body), length_known=length_known) == want


def test_half_an_answer_without_length_is_a_fault():
    assert answer.fault(orjson.dumps(GOOD)[:-5], length_known=False) == "Truncated"


USAGES = {
    "told": (GOOD, (3, 4)),
    "not told": ({}, (0, 0)),
    "absurd": ({"usage": {"prompt_tokens": -1, "completion_tokens": "4"}}, (0, 0)),
    "null": ({"usage": None}, (0, 0)),
}


@pytest.mark.parametrize(("body", "want"), USAGES.values(), ids=USAGES)
def test_usage(body: object, want: tuple[int, int]):
    assert answer.usage(orjson.dumps(body)) == want


DATE = (b"date", b"Sun, 22 Nov 2026 06:00:00 GMT")
PAUSES = {
    "does not ask": (429, [], None),
    "asks in seconds": (429, [(b"retry-after", b"30")], 30.0),
    "asks in parts of a second": (503, [(b"retry-after", b"1.5")], 1.5),
    "asks with a date": (429, [DATE, (b"retry-after", b"Sun, 22 Nov 2026 06:00:20 GMT")], 20.0),
    "asks with a date of the past": (429, [DATE, (b"retry-after", b"Sun, 22 Nov 2026 05:00:00 GMT")], 0.0),
    "asks with a date, tells no time": (429, [(b"retry-after", b"Sun, 22 Nov 2026 06:00:20 GMT")], None),
    "asks for less than nothing": (429, [(b"retry-after", b"-1")], None),
    "asks for no time at all": (429, [(b"retry-after", b"soon \xff")], None),
    "is not what is busy": (500, [(b"retry-after", b"30")], None),
}


@pytest.mark.parametrize(("status", "headers", "want"), PAUSES.values(), ids=PAUSES)
def test_pause(status: int, headers: list[tuple[bytes, bytes]], want: float | None):
    assert answer.pause_s(status, headers) == want
