"""The engines' side: one replica with its kept-alive connections, one HTTP answer at a time on each.

A connection only finds the status, the body's bytes and the end of an answer; what they mean is its taker's matter.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from modelfleet.route import affinity
from modelfleet.route.health import UNLIMITED, Health
from modelfleet.route.outside import Outside
from modelfleet.router import sockets

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 1.0  # inside the cluster; a pod whose address is gone swallows packets silently
CONNECT_TIMEOUT_TLS_S = 5.0  # to a public API: name, route and handshake
IDLE_MAX = 256  # kept-alive connections per replica
# A llama.cpp server keeps a thread per open connection, so idle ones are given back quickly.
IDLE_S_MAX = 1.0
HEAD_BYTES_MAX = 64 * 1024

Headers = list[tuple[bytes, bytes]]  # names in lower case


class Taker(Protocol):
    """Who takes an answer.  Exactly one of `upstream_end` and `upstream_lost` comes last, unless it detaches."""

    def upstream_head(self, status: int, headers: Headers, *, length_known: bool) -> None: ...
    def upstream_body(self, data: bytes) -> None: ...
    def upstream_end(self) -> None: ...
    def upstream_lost(self, outcome: str, *, stale: bool) -> None: ...


class _Visitor:
    """Asks for nothing."""

    outcome = ""

    def upstream_head(self, status: int, headers: Headers, *, length_known: bool) -> None: ...
    def upstream_body(self, data: bytes) -> None: ...
    def upstream_end(self) -> None: ...
    def upstream_lost(self, outcome: str, *, stale: bool) -> None:  # noqa: ARG002
        self.outcome = outcome


class Replica:
    """One address that takes requests."""

    __slots__ = (
        "_idle", "_knocking", "_left", "_loop", "_outside", "_tls", "denied", "health", "host", "in_flight", "port", "room", "seed", "warmth",
    )  # fmt: skip

    def __init__(
        self,
        host: str,
        port: int,
        *,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None = None,
        outside: Outside | None = None,
    ) -> None:
        self.host = host
        self.port = port
        # Its pool's matter: requests that have a place here, how many may have, and what is known of it.
        self.in_flight = 0
        self.room = UNLIMITED
        self.warmth = 1.0  # less while it is new
        self.health = Health()
        self.seed = affinity.seed(f"{host}:{port}")
        self._loop = loop
        self._tls = tls
        self._outside = outside  # of an external one: which addresses may be connected to
        self.denied: tuple[str, ...] = ()  # those that its name had last, if none may
        self._idle: list[Upstream] = []
        self._left = False  # the table does not name it any more
        self._knocking: asyncio.Task[None] | None = None

    def send(self, taker: Taker, request: bytes, *, fresh: bool = False) -> "Upstream":
        """Send `request` on a kept-alive connection, or on a new one."""
        idle = self._idle
        while idle and not fresh:
            connection = idle.pop()
            if connection.usable(self._loop.time()):
                connection.assign(taker, request)
                return connection
            connection.abort()
        connection = Upstream(self)
        connection.assign(taker, request)
        connection.connecting = self._loop.create_task(self._connect(connection))
        return connection

    def knock(self, tell: "Callable[[Replica, str, float], None]") -> None:
        """Connect and hang up, and tell why that failed, in one word (empty: it did not), and when.  One at a time."""
        if self._knocking is None:
            self._knocking = self._loop.create_task(self._knock(tell))

    async def _knock(self, tell: "Callable[[Replica, str, float], None]") -> None:
        visitor, connection = _Visitor(), Upstream(self)
        connection.assign(visitor, b"")
        await self._connect(connection)
        connection.abort()
        self._knocking = None
        tell(self, visitor.outcome, self._loop.time())

    async def _connect(self, connection: "Upstream") -> None:
        limit_s = CONNECT_TIMEOUT_S if self._tls is None else CONNECT_TIMEOUT_TLS_S
        try:
            async with asyncio.timeout(limit_s):
                if self._outside is None:
                    await self._open(connection, self.host)
                else:
                    await self._open_outside(connection, self._outside)
        except TimeoutError:
            connection.lost("ConnectTimeout")
        except ssl.SSLError:
            connection.lost("TLS")
        except (OSError, UnicodeError) as err:  # the latter: a host that is no name at all
            connection.lost(sockets.refused(err))

    async def _open(self, connection: "Upstream", address: str) -> None:
        await self._loop.create_connection(
            lambda: connection,
            address,
            self.port,
            ssl=self._tls,
            server_hostname=self.host if self._tls else None,
        )

    async def _open_outside(self, connection: "Upstream", outside: Outside) -> None:
        """Connect to one of the name's addresses, to that very address: a name may mean another one when asked again."""
        found = await self._loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
        allowed = [address for address in addresses if not outside.denies(address)]
        if not allowed:
            if addresses != self.denied:
                _log.warning("external address is denied", extra={"host": self.host, "addresses": addresses})
            self.denied = addresses
            connection.lost("AddressDenied")
            return
        self.denied = ()
        for address in allowed:
            try:
                await self._open(connection, address)
            except ssl.SSLError:
                raise  # somebody is there, and not whom we want
            except OSError:
                if address == allowed[-1]:
                    raise
            else:
                return

    def keep(self, connection: "Upstream") -> None:
        """Keep a connection whose answer is complete."""
        if len(self._idle) < IDLE_MAX and not self._left:
            connection.idle_since_s = self._loop.time()
            self._idle.append(connection)
        else:
            connection.abort()

    def forget(self, connection: "Upstream") -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now_s: float) -> None:
        """Close what was idle for too long."""
        for connection in [idle for idle in self._idle if not idle.usable(now_s)]:
            self._idle.remove(connection)
            connection.abort()

    def close(self) -> None:
        """The replica left the table: idle connections go now, busy ones when their answer is complete."""
        self._left = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()


class Upstream(asyncio.Protocol):
    """One connection to a replica."""

    __slots__ = (
        "_answers", "_complete", "_got_bytes", "_head", "_head_bytes", "_headers", "_keep",
        "_length_known", "_parser", "_paused", "_replica", "_request", "_taker", "_transport", "connecting", "idle_since_s",
    )  # fmt: skip

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._taker: Taker | None = None
        self._paused = False
        self._answers = 0  # complete ones on this connection
        self.idle_since_s = 0.0
        self.connecting: asyncio.Task[None] | None = None

    # What the exchange does with it.

    def assign(self, taker: Taker, request: bytes) -> None:
        self._taker = taker
        self._got_bytes = False
        self._head = False
        self._complete = False
        self._head_bytes = 0
        if self._transport is not None:
            self._transport.write(request)
        else:
            self._request = request

    def usable(self, now_s: float) -> bool:
        transport = self._transport
        return (
            transport is not None and not transport.is_closing() and now_s - self.idle_since_s <= IDLE_S_MAX
        )

    def abort(self) -> None:
        """Let the engine know at once that nobody waits: it frees the slot when the connection ends."""
        self._taker = None
        if self._transport is not None:
            self._transport.abort()
        elif self.connecting is not None:
            self.connecting.cancel()

    def detach(self) -> None:
        """Nobody is interested in the rest of this answer.  If it is not here yet the connection is closed."""
        self._taker = None

    def pause(self) -> None:
        # Without a taker its answer is complete: what the client has yet to read must not hold back the next one's.
        if self._taker is not None and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def lost(self, outcome: str) -> None:
        """There will be no more bytes."""
        taker, self._taker = self._taker, None
        if taker is not None:
            stale = self._answers > 0 and not self._got_bytes
            taker.upstream_lost(outcome, stale=stale)

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.connecting = None
        if self._taker is None:
            self._transport.abort()
        else:
            self._transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        if self._taker is None:  # bytes that nobody asked for
            self._close()
            return
        self._got_bytes = True
        if not self._head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as err:
            if isinstance(err, httptools.HttpParserCallbackError):
                _log.exception("an answer could not be relayed")  # a fault of ours
            self.lost("BadHttp")
            self._close()
            return
        if self._complete:
            self._finish()
        elif self._taker is None:
            self._close()
        elif not self._head and self._head_bytes > HEAD_BYTES_MAX:
            self.lost("BadHttp")
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._replica.forget(self)
        taker = self._taker
        if taker is not None and self._head and not self._length_known and exc is None:
            self._taker = None
            taker.upstream_end()  # its end is the end of the connection
        else:
            self.lost("Reset")
        self._transport = None

    # What the parser tells.

    def on_message_begin(self) -> None:
        if self._complete and self._taker is not None:
            # Two answers to one request: which of them is meant for whom?  Neither is to be trusted.
            self._keep = False
            self.lost("BadHttp")
            return
        self._headers: Headers = []
        self._length_known = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head:
            return  # a trailer
        name = name.lower()
        if name in {b"content-length", b"transfer-encoding"}:
            self._length_known = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._taker is None:  # noqa: PLR2004 - an interim answer, the real one follows
            return
        self._head = True
        self._taker.upstream_head(status, self._headers, length_known=self._length_known)

    def on_body(self, data: bytes) -> None:
        if self._taker is not None:
            self._taker.upstream_body(data)

    def on_message_complete(self) -> None:
        # The parser forgets its flags after this call, so this is the only place to ask.
        if (self._head or self._taker is None) and not self._complete:
            self._complete = True
            self._keep = self._parser.should_keep_alive() and self._length_known

    def _finish(self) -> None:
        taker, self._taker = self._taker, None
        self._answers += 1
        if self._paused:
            self.resume()  # its last bytes were too many for the client, which is not the next one's matter
        if self._keep and self._transport is not None and not self._transport.is_closing():
            self._replica.keep(self)
        else:
            self._close()
        if taker is not None:
            taker.upstream_end()

    def _close(self) -> None:
        self._taker = None
        if self._transport is not None:
            self._transport.abort()
