"""Lines of the access log on their way out of the process.

A line must never cost a request time: a reader of the log that is slow would stop the loop with the write that it
blocks.  So lines are collected, written by a thread, and dropped and counted where they come faster than they go.
"""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

FLUSH_S = 0.25
PENDING_BYTES_MAX = 1 << 20
# A pipe takes so many bytes at once without another writer's between them (PIPE_BUF).
PIECE_BYTES = 4096


class AccessLog:
    """Writes one JSON object per line, in the form of the router's own log, to a file descriptor."""

    __slots__ = (
        "_clock",
        "_fd",
        "_loop",
        "_pending",
        "_timer",
        "_writing",
        "dropped",
        "pending_bytes",
        "written",
    )

    def __init__(self, fd: int, *, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._fd = fd
        self._loop = loop
        self._clock = clock  # Unix time
        self._pending: list[bytes] = []
        self.pending_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self.written = 0
        self.dropped = 0

    def add(self, fields: dict[str, Any]) -> None:
        """Take a line; it is written within FLUSH_S or so."""
        time = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        head = {"time": f"{time[:23]}Z", "level": "info", "logger": "modelfleet.access", "message": "request"}
        text = orjson.dumps({**head, **fields}, option=orjson.OPT_APPEND_NEWLINE)
        if self.pending_bytes + len(text) > PENDING_BYTES_MAX:
            self.dropped += 1
            return
        self._pending.append(text)
        self.pending_bytes += len(text)
        if self._timer is None and not self._writing:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def close(self) -> None:
        """Write what is left, here and now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._pending, self.pending_bytes = self._pending, [], 0
        _write(self._fd, lines)
        self.written += len(lines)

    def _flush(self) -> None:
        self._timer = None
        lines, self._pending, self.pending_bytes = self._pending, [], 0
        self._writing = True
        written = self._loop.run_in_executor(None, _write, self._fd, lines)
        written.add_done_callback(lambda done: self._flushed(len(lines), done))

    def _flushed(self, lines: int, done: "asyncio.Future[None]") -> None:
        self._writing = False
        if done.cancelled() or done.exception() is not None:
            self.dropped += lines  # nobody reads this log any more, and a log cannot tell that
        else:
            self.written += lines
        if self._pending and self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)


def _write(fd: int, lines: list[bytes]) -> None:
    """Write whole lines in pieces that a pipe takes at once."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > PIECE_BYTES:
            os.write(fd, piece)
            piece = b""
        piece += line
    if piece:
        os.write(fd, piece)
