"""The form of requests: what a head may look like, and how an answer's head is written."""

from typing import Final, Protocol

from modelfleet.route import refusal
from modelfleet.route.keys import ApiKey
from modelfleet.route.refusal import Refusal

HEAD_BYTES_MAX: Final = 32 * 1024
HEADERS_MAX: Final = 100
_PIECE_BYTES: Final = 4096

_REASONS: Final = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout",
    413: b"Content Too Large", 415: b"Unsupported Media Type", 422: b"Unprocessable Content", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip
_STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in _REASONS.items()
}
_JUDGED: Final = frozenset({b"content-length", b"transfer-encoding", b"content-encoding", b"content-type"})
_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})
_SCHEMES: Final = frozenset({b"http", b"https"})
_UPGRADE_FIELDS: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


class Patron(Protocol):
    """Who answers a request and wants to know how its client fares."""

    def client_gone(self) -> None: ...
    def client_slow(self) -> None: ...
    def client_ready(self) -> None: ...
    def tick(self) -> None: ...


def add_piece(pieces: list[bytes], data: bytes) -> None:
    """One more piece of a body.  Small ones are put together: each alone would weigh forty times its one byte."""
    pieces.append(data)
    while len(pieces) > 1 and len(pieces[-2]) <= len(pieces[-1]) < _PIECE_BYTES:
        last = pieces.pop()
        pieces[-1] += last


class Request:
    """One whole request.  Header names are in lower case, `path` is without its query."""

    __slots__ = ("body", "headers", "keep_alive", "key", "method", "path", "version")

    def __init__(self) -> None:
        self.method = b""
        self.path = b""
        self.version = "1.1"  # or 1.0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.keep_alive = False
        self.key: ApiKey | None = None  # whose it is, where keys are asked for

    @property
    def waits_for_go_ahead(self) -> bool:
        """The client sends its body only after an interim answer."""
        # Not any(): a generator costs more than the loop, and this runs for every request.
        for name, value in self.headers:
            if name == b"expect":
                return (
                    self.version == "1.1" and value.lower() == b"100-continue"
                )  # HTTP/1.0 knows no interim answers
        return False


def path(target: bytes) -> bytes:
    """Path of a request target, in origin or absolute form, without its query."""
    found = target.partition(b"?")[0] if b"?" in target else target
    if not found.startswith(b"/"):
        scheme, _, rest = found.partition(b"://")
        if scheme.lower() in _SCHEMES:
            return b"/" + rest.partition(b"/")[2]
    return found


def head_too_large(request: Request, target: bytes, *, before: int, piece: int) -> bool:
    """Whether a head that came in several pieces is: `before` bytes of them, and the last of at most `piece` bytes."""
    # Added up only where the pieces leave a doubt; a piece is at most what one read gives.
    if before + piece <= HEAD_BYTES_MAX:
        return len(request.headers) > HEADERS_MAX
    fields_bytes = sum(len(name) + len(value) for name, value in request.headers)
    return len(request.headers) > HEADERS_MAX or fields_bytes + len(target) > HEAD_BYTES_MAX


def head_fault(request: Request, *, body_bytes_max: int) -> Refusal | None:
    """What is wrong with a head that the parser took."""
    hosts = 0
    for name, value in request.headers:
        if name == b"host":
            hosts += 1
        elif name in _JUDGED:
            fault = _field_fault(name, value, request, body_bytes_max)
            if fault is not None:
                return fault
    if request.version not in {"1.0", "1.1"} or hosts > 1 or (hosts == 0 and request.version == "1.1"):
        return refusal.MALFORMED
    return None


def _field_fault(name: bytes, value: bytes, request: Request, body_bytes_max: int) -> Refusal | None:
    if name == b"content-length":
        return refusal.body_too_large(body_bytes_max) if int(value) > body_bytes_max else None
    if name == b"content-type":
        wrong = value not in _JSON and request.method == b"POST" and not _is_json(value)
        return refusal.NOT_JSON if wrong else None
    if name == b"content-encoding":
        # A small body could become a huge one.
        return None if value.strip().lower() == b"identity" else refusal.ENCODED
    # A coding that we would have to undo to know where the body ends; HTTP/1.0 knows none at all.
    chunked = value.strip().lower() == b"chunked" and request.version != "1.0"
    return None if chunked else refusal.MALFORMED


def _is_json(content_type: bytes) -> bool:
    """Whether a body of this media type is JSON.

    Others are refused although they may hold JSON: a page in somebody's browser may send those anywhere, also to a
    router that only trusts its network, but has to ask before it sends this one.
    """
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


def without_upgrade(request: Request, target: bytes) -> bytes:
    """The request's head as if it had not offered an upgrade."""
    lines = [b"%b %b HTTP/1.1" % (request.method, target)]
    lines += [b"%b: %b" % field for field in request.headers if field[0] not in _UPGRADE_FIELDS]
    if any(name == b"connection" and b"close" in value.lower() for name, value in request.headers):
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answer_head(status: int, fields: bytes, request: Request, *, length: int | None, chunked: bool) -> bytes:
    """Status line and header lines of an answer.  `fields`: lines, each ended by CRLF."""
    head = (_STATUS_LINES.get(status) or b"HTTP/1.1 %d Answer\r\n" % status) + fields
    if length is not None:
        head += b"content-length: %d\r\n" % length
    elif chunked:
        head += b"transfer-encoding: chunked\r\n"
    if not request.keep_alive:
        head += b"connection: close\r\n"
    elif request.version == "1.0":
        head += b"connection: keep-alive\r\n"
    return head + b"\r\n"
