"""The W3C trace context of a request: which trace it belongs to, and whether its caller wants it told.

See https://www.w3.org/TR/trace-context/.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Caller:
    """The span that a request comes from.  Neither number is 0."""

    trace_id: int
    span_id: int
    sampled: bool


def caller(headers: Sequence[tuple[bytes, bytes]]) -> Caller | None:
    """What the only `traceparent` says; None where there is none that can be read."""
    given = [value for name, value in headers if name == b"traceparent"]
    found = _TRACEPARENT.fullmatch(given[0].strip()) if len(given) == 1 else None
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5] is not None):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    if not trace_id or not span_id:
        return None
    return Caller(trace_id, span_id, sampled=bool(int(found[4], 16) & _SAMPLED))


def line(trace_id: int, span_id: int) -> bytes:
    """The header line that says: you are called from this span, and it is told."""
    return b"traceparent: 00-%032x-%016x-01\r\n" % (trace_id, span_id)
