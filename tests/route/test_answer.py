import orjson
import pytest

from modelfleet.route import answer

FAILURES = {200: None, 204: None, 302: "Redirect", 400: None, 401: "Unauthorized", 404: "NotFound", 413: None}
FAILURES |= {422: None, 429: "RateLimited", 500: "Status5xx", 503: "Status5xx", 599: "Status5xx"}


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
