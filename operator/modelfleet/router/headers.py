"""Which header fields cross the router.

Towards an engine only the named few go: no credentials, no cookies, nothing that steers it.  Towards the client all
go except those that belong to one connection, to one host, or to us.
"""

from collections.abc import Sequence
from typing import Final

_FORWARDED: Final = frozenset({b"accept", b"user-agent", b"x-request-id", b"traceparent", b"tracestate"})

_NOT_RETURNED: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"content-length",  # of one connection
    b"set-cookie", b"alt-svc", b"strict-transport-security", b"server",  # of one host
})  # fmt: skip

# What engines really send, spared the parsing.
_MEDIA_TYPES: Final = {
    b"application/json": b"application/json",
    b"application/json; charset=utf-8": b"application/json",
    b"text/event-stream": b"text/event-stream",
    b"text/event-stream; charset=utf-8": b"text/event-stream",
}

Headers = Sequence[tuple[bytes, bytes]]


def forwarded(headers: Headers) -> bytes:
    """Header lines of a client's request that an engine may see."""
    # A list, not a generator: half the cost, and this is every request.
    lines = [b"%b: %b\r\n" % field for field in headers if field[0] in _FORWARDED]
    return b"".join(lines) if lines else b""


def asking(path: bytes, lines: bytes, body: bytes) -> bytes:
    """A request to an engine.  `lines`: its header lines, each ended by CRLF."""
    return b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (path, lines, len(body), body)


def answer_fields(headers: Headers) -> tuple[bytes, bytes]:
    """Header lines of an engine's answer that the client may see, and the media type without parameters."""
    media_type = b""
    lines = []
    for field in headers:
        name = field[0]
        if name in _NOT_RETURNED or name.startswith(b"x-modelfleet-"):
            continue
        if name == b"content-type":
            media_type = _MEDIA_TYPES.get(field[1]) or field[1].partition(b";")[0].strip().lower()
        lines.append(b"%b: %b\r\n" % field)
    return b"".join(lines), media_type
