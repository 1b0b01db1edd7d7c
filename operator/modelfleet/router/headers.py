"""Which header fields cross the router.

Towards an engine only the named few go: no credentials, no cookies, nothing that steers it.  Towards the client all
go except those that belong to one connection, to one host, or to us.
"""

from collections.abc import Sequence

_FORWARDED = frozenset({b"accept", b"user-agent", b"x-request-id", b"traceparent", b"tracestate"})

_NOT_RETURNED = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"content-length",  # of one connection
    b"set-cookie", b"alt-svc", b"strict-transport-security", b"server",  # of one host
})  # fmt: skip

Headers = Sequence[tuple[bytes, bytes]]


def forwarded(headers: Headers) -> bytes:
    """Header lines of a client's request that an engine may see."""
    return b"".join(b"%b: %b\r\n" % field for field in headers if field[0] in _FORWARDED)


def answer_fields(headers: Headers) -> tuple[bytes, bytes]:
    """Header lines of an engine's answer that the client may see, and the media type without parameters."""
    media_type = b""
    lines = []
    for name, value in headers:
        if name == b"content-type":
            media_type = value.partition(b";")[0].strip().lower()
        if name not in _NOT_RETURNED and not name.startswith(b"x-modelfleet-"):
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines), media_type
