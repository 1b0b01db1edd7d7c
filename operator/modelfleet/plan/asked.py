"""What a metrics store answered to a query of the user: one number, or why there is none.  Pure.

A query that returns nothing, several series or no number is a mistake of its author far more often than a load of
zero, so it counts for nothing, and the answer says what to write instead.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

QUERIES_MAX = 200  # asked in one look, over the whole fleet
_PROBLEM_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """`value`, or the `problem` for people."""

    value: float | None = None
    problem: str = ""


def within_bounds(queries: Collection[str]) -> tuple[list[str], dict[str, Answer]]:
    """Those to ask, and the answer to those that are too many."""
    ordered = sorted(set(queries))
    why = f"the fleet has more than {QUERIES_MAX} queries, and this one is not asked"
    return ordered[:QUERIES_MAX], dict.fromkeys(ordered[QUERIES_MAX:], Answer(problem=why))


def read(body: Mapping[str, Any]) -> Answer:
    """From the JSON of Prometheus' /api/v1/query.  Raises KeyError, TypeError or ValueError for any other shape."""
    if body["status"] != "success":
        return failed(str(body["error"]))
    kind, result = body["data"]["resultType"], body["data"]["result"]
    if kind == "scalar":
        return _number(result)
    if kind != "vector":
        return Answer(
            problem=f"it gives a {kind} instead of one number: take the range off, or aggregate over it"
        )
    if not result:
        return Answer(problem="it gives nothing: append or vector(0) where that means none")
    if len(result) > 1:
        return Answer(problem="it gives several series instead of one: put sum(...) or max(...) around it")
    return _number(result[0]["value"])


def failed(message: str) -> Answer:
    """In the words of whoever refused it."""
    return Answer(problem=" ".join(message.split())[:_PROBLEM_CHARS_MAX])


def _number(sample: Sequence[Any]) -> Answer:
    _timestamp, text = sample
    value = float(text)
    if not math.isfinite(value) or value < 0:
        return Answer(problem=f"it gives {text}, which is no amount")
    return Answer(value)
