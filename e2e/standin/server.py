"""One connection of the stand-in, and its life from start to SIGTERM.

What a real vLLM 0.32.0 was seen to do: nothing listens until it is ready; after SIGTERM /health goes on answering
200, a new request gets a 500, and what runs may finish within --shutdown-timeout.
"""

import asyncio
import itertools
import re
import signal
from typing import cast

from e2e.standin import answers
from e2e.standin.answers import Refused
from e2e.standin.counters import Counters
from e2e.standin.engine import Ask, LiveEngine
from e2e.standin.flags import Options

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_POLL_S = 0.05  # until what runs has ended
_BODY_BYTES_MAX = 8 << 20


class Server:
    """What all connections share."""

    def __init__(self, options: Options) -> None:
        self.options = options
        counters = Counters(options.name, kv_tokens=options.engine.kv_tokens)
        self.engine = LiveEngine(options.engine, speed=options.speed, counters=counters)
        self.numbers = itertools.count(1)
        self.draining = False

    def get(self, path: str) -> bytes:
        """The answer to a GET."""
        name = self.options.name
        if path in {"/health", "/ping"}:
            return b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: 0\r\nvary: Origin\r\n\r\n"
        if path == "/metrics":
            data = self.engine.metrics().encode()
            head = b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/plain; version=1.0.0; charset=utf-8\r\n"
            return head + b"content-length: %d\r\n\r\n%b" % (len(data), data)
        if path == "/v1/models":
            model = {
                "id": name,
                "object": "model",
                "owned_by": "vllm",
                "max_model_len": self.options.length_max,
            }
            return answers.whole({"object": "list", "data": [model]})
        if path == "/version":
            return answers.whole({"version": "0.32.0"})
        return answers.whole({"detail": "Not Found"}, status=404)


class Connection(asyncio.Protocol):
    """One request at a time, on connections that stay."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = b""
        self._asked: Ask | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._asked is not None:
            self._server.engine.leave(self._asked)
            self._asked = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        while self._asked is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._buffer, 0, end + 2)
            length = int(found[1]) if found else 0
            if length > _BODY_BYTES_MAX:
                self._transport.abort()
                return
            whole = end + 4 + length
            if len(self._buffer) < whole:
                return
            head, body = self._buffer[:end], self._buffer[end + 4 : whole]
            self._buffer = self._buffer[whole:]
            self._serve(head, body)

    def _serve(self, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        path = target.partition("?")[0]
        server = self._server
        if method == "GET":
            self._transport.write(server.get(path))
        elif path != "/v1/chat/completions":
            self._transport.write(answers.whole({"detail": "Not Found"}, status=404))
        elif server.draining:
            error = Refused(500, "cannot schedule new futures after shutdown", "InternalServerError", "")
            self._transport.write(error.answer)
        else:
            self._complete(body)

    def _complete(self, body: bytes) -> None:
        server, options = self._server, self._server.options
        try:
            asked = answers.question(
                body, next(server.numbers), model=options.name, length_max=options.length_max
            )
        except Refused as refused:
            self._transport.write(refused.answer)
            return
        events = answers.Events(asked) if asked.stream else None
        begun = False

        def tell(fresh: int, last: bool) -> None:  # noqa: FBT001  a callback's two words
            nonlocal begun
            if events is None:
                self._transport.write(answers.plain(asked))
            elif begun:
                self._transport.write(events.tokens(fresh, last=last))
            else:
                begun = True
                self._transport.write(answers.STREAM_HEAD + events.begin() + events.tokens(fresh, last=last))
            if last:
                self._asked = None
                self._next()

        self._asked = server.engine.ask(tell, prompt=asked.prompt, output=asked.output, stream=asked.stream)


async def serve(options: Options, *, stop: asyncio.Event | None = None) -> None:
    """Until `stop`, or SIGTERM where none is given, and then as long as its requests may take."""
    stop = stop or _signalled()
    try:
        await asyncio.wait_for(stop.wait(), options.start_s)
    except TimeoutError:
        pass
    else:
        return
    server = Server(options)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), options.host, options.port)
    print(f"listening on {listener.sockets[0].getsockname()}", flush=True)
    await stop.wait()
    server.draining = True
    until_s = loop.time() + options.drain_s
    while server.engine.busy and loop.time() < until_s:  # noqa: ASYNC110  once in its life
        await asyncio.sleep(_POLL_S)
    listener.close()


def _signalled() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
