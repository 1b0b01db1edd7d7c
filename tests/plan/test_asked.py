from typing import Any

import pytest

from modelfleet.plan.asked import QUERIES_MAX, Answer, failed, read, within_bounds


def vector(*values: str) -> dict[str, Any]:
    result = [{"metric": {"queue": str(at)}, "value": [1.0, value]} for at, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


ANSWERS: dict[str, tuple[dict[str, Any], Answer]] = {
    "one series": (vector("3.5"), Answer(3.5)),
    "a scalar": ({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "3"]}}, Answer(3.0)),
    "zero is an amount": (vector("0"), Answer(0.0)),
    "below zero": (vector("-1"), Answer(problem="it gives -1, which is no amount")),
    "not a number": (vector("NaN"), Answer(problem="it gives NaN, which is no amount")),
    "without end": (vector("+Inf"), Answer(problem="it gives +Inf, which is no amount")),
    "nothing": (vector(), Answer(problem="it gives nothing: append or vector(0) where that means none")),
    "several series": (
        vector("1", "2"),
        Answer(problem="it gives several series instead of one: put sum(...) or max(...) around it"),
    ),
    "a range": (
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        Answer(problem="it gives a matrix instead of one number: take the range off, or aggregate over it"),
    ),
    "refused": (
        {"status": "error", "errorType": "bad_data", "error": "1:5: parse error"},
        Answer(problem="1:5: parse error"),
    ),
}


@pytest.mark.parametrize(("body", "want"), ANSWERS.values(), ids=ANSWERS)
def test_read(body: dict[str, Any], want: Answer):
    assert read(body) == want


@pytest.mark.parametrize(
    "body", [{}, {"status": "success"}, vector("five"), {"status": "success", "data": []}]
)
def test_another_shape_is_an_error_of_its_reader(body: dict[str, Any]):
    with pytest.raises((KeyError, TypeError, ValueError)):
        read(body)


def test_a_message_is_one_line_and_short():
    assert failed("a\n  b" + "c" * 300) == Answer(problem=("a b" + "c" * 300)[:200])


def test_too_many_queries_are_told_so_and_always_the_same_ones():
    many = [f"up + {at:03}" for at in range(QUERIES_MAX + 2)]

    asked, refused = within_bounds([*reversed(many), many[0]])

    assert asked == many[:QUERIES_MAX]
    assert sorted(refused) == many[QUERIES_MAX:]
    assert "more than 200 queries" in refused[many[-1]].problem
