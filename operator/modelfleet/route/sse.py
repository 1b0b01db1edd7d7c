"""Server-sent events of a completion, cut at their boundaries by a byte scan.

Almost every chunk is one whole event with nothing special in it and costs a few substring searches.  Only events
that may carry usage, an error, an abort or the end are parsed.  What leaves is always a whole number of events, so
that an error event of our own can follow at any time.
"""

from typing import Any, Final

import orjson

EVENT_BYTES_MAX: Final = 1 << 20  # an engine that sends no boundary for this long is broken


class EventScan:
    """Reads one stream.  `feed` returns what the client may get of it."""

    __slots__ = (
        "_boundary",
        "_keep_usage",
        "_tail",
        "broken",
        "bytes",
        "done",
        "events",
        "usage",
        "withheld",
    )

    def __init__(self, *, keep_usage: bool) -> None:
        self._keep_usage = keep_usage
        self._tail = b""
        self._boundary = b"\n\n"
        self.bytes = 0  # that came so far
        self.events = 0  # model events so far: no comments, no [DONE]
        self.usage: tuple[int, int] | None = None  # input and output tokens, when told
        self.withheld = b""  # the data of the usage event that did not leave
        self.done = False  # [DONE] was seen: a clean end
        self.broken: str | None = None  # why the stream can not end cleanly, one word

    def feed(self, data: bytes) -> bytes:
        """The whole events in what came so far, without a usage event that nobody asked for."""
        self.bytes += len(data)
        if self._tail:
            data = self._tail + data
        cut = data.rfind(self._boundary)
        if cut < 0:
            cut = self._other_boundary(data)
        if cut < 0:
            self._tail = data
            if len(data) > EVENT_BYTES_MAX:
                self.broken = "Oversized"
            return b""
        cut += len(self._boundary)
        self._tail = data[cut:]
        whole = data[:cut] if self._tail else data
        if whole.startswith(b"data:") and not _special(whole):
            self.events += whole.count(self._boundary)
            return whole
        return self._scan(whole)

    def _other_boundary(self, data: bytes) -> int:
        # Both line ends are legal; a stream keeps to one of them.
        if self.events == 0 and b"\r\n\r\n" in data:
            self._boundary = b"\r\n\r\n"
        return data.rfind(self._boundary)

    def _scan(self, whole: bytes) -> bytes:
        events = whole.split(self._boundary)[:-1]
        return b"".join(
            event + self._boundary for event in events if self.broken is None and self._keep(event)
        )

    def _keep(self, event: bytes) -> bool:
        data = _data(event)
        if data is None:
            return True  # comments and other fields pass
        if data == b"[DONE]":
            self.done = True
            return True
        fields = _object(data)
        if fields.get("error"):
            self.broken = "ErrorEvent"
            return False
        choices = fields.get("choices")
        if isinstance(choices, list) and any(_aborted(choice) for choice in choices):
            self.broken = "Aborted"  # a vLLM that is told to stop ends its streams so
            return False
        usage = fields.get("usage")
        if isinstance(usage, dict):
            self.usage = tokens(usage)
            if choices == []:
                self.withheld = b"" if self._keep_usage else data
                return self._keep_usage
        self.events += 1
        return True


def _data(event: bytes) -> bytes | None:
    """What an event carries, whatever fields and comments stand before it; None for nothing."""
    found = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(found) if found else None


def _special(data: bytes) -> bool:
    # Written out: a loop over the words costs more than the searches, and this runs for every chunk.
    return b'"usage"' in data or b"[DONE]" in data or b'"abort"' in data or b'"error"' in data


def tokens(usage: dict[str, Any]) -> tuple[int, int]:
    """Input and output tokens of a usage object; 0 for what is missing or absurd."""
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _aborted(choice: object) -> bool:
    return isinstance(choice, dict) and choice.get("finish_reason") == "abort"


def _object(data: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}
