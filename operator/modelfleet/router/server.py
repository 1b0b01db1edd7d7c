"""The clients' side: HTTP/1.1 in, one request at a time per connection, answers out.

It accepts or refuses a message by its form alone and knows nothing of models.  Reading goes on while an answer is
under way, because that is how a client that left is noticed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from modelfleet.route import refusal
from modelfleet.route.refusal import Refusal
from modelfleet.router import sockets
from modelfleet.router.crowd import Crowd
from modelfleet.router.message import (
    HEAD_BYTES_MAX,
    Patron,
    Request,
    add_piece,
    answer_head,
    head_fault,
    head_too_large,
    path,
    without_upgrade,
)

_log = logging.getLogger(__name__)

HEAD_S_MAX = 10.0  # from a request's first byte to the end of its headers
BODY_S_MAX = 60.0  # from there to the end of its body
IDLE_S_MAX = 120.0  # between two requests; longer than what usual load balancers keep
LINGER_S = 2.0  # a refused client may still be sending; closing at once would lose the answer on its way
STALL_S_MAX = 30.0  # without a byte more of a complete answer being taken
PIPELINE_MAX = 16
# Requests behind the present one: above either, no more are read.  A client that leaves is noticed only by reading.
QUEUED_MAX = 4
QUEUED_BYTES_MAX = 256 * 1024
WRITE_BUFFER_HIGH_BYTES = 64 * 1024

_NEVER_S, _NEVER_BYTES = float("inf"), 1 << 62


class Server:
    """What all connections of one listening port share."""

    def __init__(
        self,
        on_request: Callable[["Client", Request], None],
        *,
        loop: asyncio.AbstractEventLoop,
        body_bytes_max: Callable[[], int],
        on_refused: Callable[[Refusal], None],
    ) -> None:
        self.on_request = on_request
        self.on_refused = on_refused
        self.body_bytes_max = body_bytes_max
        self.loop = loop
        self.draining = False  # answers carry `Connection: close`
        self.crowd = Crowd()

    def connection(self) -> "Client":
        return Client(self)


class Client(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_alarm", "_alarm_s", "_body", "_body_bytes", "_body_bytes_max", "_chunked", "_current", "_ends_by_close",
        "_head_bytes", "_head_done", "_headers", "_parser", "_pending_head", "_piece_bytes", "_piecemeal", "_queue",
        "_refused", "_request", "_server", "_slow", "_transport", "_unsent", "_url", "expires_s", "idle_since_s",
        "patron",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()
        self._current: Request | None = None  # being answered
        self._refused = False
        self._slow = False  # it has not taken what was written for it
        self._head_done = True
        self._pending_head = b""
        self._ends_by_close = False
        self._unsent = _NEVER_BYTES
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s = _NEVER_S
        self.patron: Patron | None = None

    # begin, then pieces of the body, then finish: one answer that comes as it is made.

    def begin(self, status: int, fields: bytes, *, length: int | None) -> None:
        """Say how the answer starts; it leaves with the first bytes.  `fields`: header lines, each ended by CRLF."""
        current = cast("Request", self._current)
        self._chunked = length is None and current.version == "1.1"
        self._ends_by_close = length is None and not self._chunked
        if self._server.draining or self._ends_by_close:
            current.keep_alive = False
        self._pending_head = answer_head(status, fields, current, length=length, chunked=self._chunked)

    def write(self, data: bytes) -> None:
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._pending_head:
            data = self._pending_head + data
            self._pending_head = b""
        self._transport.write(data)

    def finish(self) -> None:
        rest = self._pending_head + (b"0\r\n\r\n" if self._chunked else b"")
        self._pending_head = b""
        if rest:
            self._transport.write(rest)
        self._next()

    def whole(self, status: int, fields: bytes, body: bytes) -> None:
        """A whole answer at once, in one write."""
        current = cast("Request", self._current)
        if self._server.draining:
            current.keep_alive = False
        head = answer_head(status, fields, current, length=len(body), chunked=False)
        # A HEAD is told the length alone.
        self._transport.write(head if current.method == b"HEAD" else head + body)
        self._next()

    def reply(
        self, status: int, body: bytes, fields: bytes = b"", *, content_type: bytes = b"application/json"
    ) -> None:
        """A whole answer of our own at once."""
        self.whole(status, b"content-type: %b\r\n%b" % (content_type, fields), body)

    def refuse(self, refused: Refusal, fields: bytes = b"") -> None:
        """A whole error answer at once."""
        self._server.on_refused(refused)
        if refused.retry_after_s is not None:
            fields += b"retry-after: %d\r\n" % refused.retry_after_s
        self.reply(refused.status, refused.body(), fields)

    def ring_at(self, due_s: float) -> None:
        """Have the patron's `tick` called at that time, or earlier.

        One timer for the whole connection, which outlives its requests and only ever moves to an earlier time: making
        and cancelling one costs as much as a tenth of a request, and almost none of them is ever due.
        """
        if due_s < self._alarm_s:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_s = due_s
            self._alarm = self._server.loop.call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._alarm_s = _NEVER_S
        if self.patron is not None:
            self.patron.tick()

    def cut(self) -> None:
        """End the connection in a way that no client takes for a complete answer."""
        patron, self.patron = self.patron, None
        self._queue.clear()
        self._refused = True
        self._leave_within(LINGER_S)
        if self._ends_by_close:
            sockets.reset(self._transport)
        else:
            self._transport.close()
        if patron is not None:
            patron.client_gone()

    def close(self) -> None:
        self._transport.close()

    def drop(self) -> None:
        self._transport.abort()

    def unread_bytes(self) -> int:
        """Bytes of answers that wait here for their client."""
        return self._transport.get_write_buffer_size()

    def expire(self) -> None:
        """Too slow, or idle for too long."""
        unsent = sockets.untaken_bytes(self._transport)
        if 0 < unsent < self._unsent:
            self._unsent = unsent  # slow, but it reads
            self._leave_within(STALL_S_MAX)
        elif self._request is not None and not self._refused:
            self._refuse_message(refusal.TOO_SLOW)
        else:
            self._transport.abort()

    def _next(self) -> None:
        current = cast("Request", self._current)
        self.patron = self._current = None
        if not current.keep_alive:
            self._refused = True  # whatever else it sends is not for us
            self._linger()
            return
        self._idle()
        if self._queue:
            self._server.loop.call_soon(self._serve_queued)

    def _serve_queued(self) -> None:
        # One answer at a time waits for a client that does not read.
        if self._queue and self._current is None and not self._slow and not self._transport.is_closing():
            self._transport.resume_reading()
            self._serve(self._queue.popleft())

    def _serve(self, request: Request) -> None:
        self._current = request
        self._unsent = _NEVER_BYTES
        self.expires_s = _NEVER_S
        self.idle_since_s = _NEVER_S
        self._server.on_request(self, request)

    def _idle(self) -> None:
        now_s = self._server.loop.time()
        if self._request is not None:  # the next one is on its way
            self.expires_s = now_s + (BODY_S_MAX if self._head_done else HEAD_S_MAX)
            return
        self.idle_since_s = now_s
        self.expires_s = now_s + IDLE_S_MAX

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH_BYTES)
        self._request: Request | None = None
        self._idle()
        welcome = self._server.crowd.enter(self)
        if welcome == "told":
            self._refuse_message(refusal.CROWDED)
        elif welcome == "out":
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._piece_bytes = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError:
            _log.exception("a request could not be served")  # a fault of ours
            self.cut()
            return
        except httptools.HttpParserError:
            self._refuse_message(refusal.MALFORMED)
            return
        if not self._head_done and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse_message(refusal.HEAD_TOO_LARGE)

    def eof_received(self) -> None:
        """A client that closes its half before it has its answer has left: HTTP clients do not half-close."""
        patron, self.patron = self.patron, None
        if patron is not None:
            patron.client_gone()
            self._transport.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.crowd.leave(self)
        if self._alarm is not None:
            self._alarm.cancel()
        self._refused = True
        self._queue.clear()
        patron, self.patron = self.patron, None
        if patron is not None:
            patron.client_gone()

    def pause_writing(self) -> None:
        self._slow = True
        self._server.crowd.stops_reading(self)
        if self.patron is not None:
            self.patron.client_slow()

    def resume_writing(self) -> None:
        self._slow = False
        self._server.crowd.reads(self)
        if self.patron is not None:
            self.patron.client_ready()
        self._serve_queued()

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._head_done = False
        self._head_bytes = 0  # that came before the present piece
        self._url = b""
        self._request = request = Request()
        self._headers = request.headers
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._piecemeal = False
        self.idle_since_s = _NEVER_S
        if self._current is None:
            self.expires_s = self._server.loop.time() + HEAD_S_MAX

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # else it is a trailer
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        request = self._request
        if self._refused or request is None:
            return
        self._head_done = True
        if head_too_large(request, self._url, before=self._head_bytes, piece=self._piece_bytes):
            self._refuse_message(refusal.HEAD_TOO_LARGE)
            return
        request.method = self._parser.get_method()
        request.version = self._parser.get_http_version()
        request.path = path(self._url)
        self._body_bytes_max = self._server.body_bytes_max()
        fault = head_fault(request, body_bytes_max=self._body_bytes_max)
        if fault is not None:
            self._refuse_message(fault)
        elif self._current is None:
            self.expires_s = self._server.loop.time() + BODY_S_MAX
            if request.waits_for_go_ahead:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self._refused:
            return
        self._body_bytes += len(data)
        if self._body_bytes > self._body_bytes_max:
            self._refuse_message(refusal.body_too_large(self._body_bytes_max))
        elif not self._body:
            self._body.append(data)
        else:
            self._piecemeal = True
            add_piece(self._body, data)
            self._server.crowd.arrives(self, len(data), body_bytes_max=self._body_bytes_max)

    def on_message_complete(self) -> None:
        request = self._request
        if self._refused or request is None or self._parser.should_upgrade():
            return
        # The parser forgets its flags after this call, so this is the only place to ask.
        request.keep_alive = self._parser.should_keep_alive()
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._piecemeal:
            self._server.crowd.arrived(self)
        self._request, self._body = None, []
        if self._current is None and not self._queue and not self._slow:
            self._serve(request)
        elif len(self._queue) < PIPELINE_MAX:
            self._queue.append(request)
            queued_bytes = sum(len(each.body) for each in self._queue)
            if len(self._queue) >= QUEUED_MAX or queued_bytes > QUEUED_BYTES_MAX:
                self._transport.pause_reading()
        else:
            self.cut()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 as if no upgrade had been offered, as RFC 9110 allows; Java's client always offers one."""
        request = self._request
        if request is None or self._refused or request.method == b"CONNECT":
            self._refuse_message(refusal.MALFORMED)
            return
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(without_upgrade(request, self._url) + rest)

    def _refuse_message(self, refused: Refusal) -> None:
        """The message cannot be served, and what follows it cannot be trusted: answer and close."""
        if self._refused:
            return
        self._refused = True
        if self._current is not None:
            # An earlier request is still being answered; an answer for this one would be taken for its.
            if self._current.keep_alive:  # else nothing was to come after it, by its own word
                self.cut()
            return
        self._server.crowd.arrived(self)
        self._body = []
        self._request = self._current = Request()
        self.refuse(refused)

    def _linger(self) -> None:
        """Close when the client had time to read the answer, though bytes of its may still be on their way."""
        self._leave_within(LINGER_S)
        if self._request is None:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def _leave_within(self, seconds: float) -> None:
        self.idle_since_s = _NEVER_S
        self.expires_s = self._server.loop.time() + seconds
