"""The load that wrk cannot make, as a process of its own: requests at a given rate, streams, streams that are left.

Prints one JSON object.  Times come from the same clock as the stand-in engine's.
"""

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import Callable
from typing import cast

import uvloop

PROMPT_BYTES = 1000
_SENT_AT = re.compile(rb'"content": ?" (\d+\.\d+)"')
_STREAM = re.compile(rb'"id": ?"chatcmpl-(\d+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def request(prompt_bytes: int, *, key: str = "", **more: object) -> bytes:
    """A chat completion request as its bytes."""
    ask = {"model": "bench", "messages": [{"role": "user", "content": "word " * (prompt_bytes // 5)}], **more}
    body = json.dumps(ask).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer {key}\r\n" if key else ""
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time.  `done` is told whether the answer was a whole, good one."""

    def __init__(self, *, on_sent_at: Callable[["Connection", float], None] | None = None) -> None:
        self._on_sent_at = on_sent_at
        self._data = b""
        self.done: Callable[[Connection, bool], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, data: bytes, done: Callable[["Connection", bool], None]) -> None:
        self.asked_s = time.monotonic()
        self.first = True
        self.done = done
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._on_sent_at is not None:
            found = _SENT_AT.findall(data)
            for sent in found:
                self._on_sent_at(self, float(sent))
            self.first = self.first and not found
        self._data += data
        if self._on_sent_at is not None and b"[DONE]" not in self._data[-400:]:
            return
        if self._whole():
            good = self._data.startswith(b"HTTP/1.1 200")
            self._data = b""
            self._end(good=good)

    def _whole(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        found = _LENGTH.search(self._data, 0, end + 2)
        return len(self._data) >= end + 4 + int(found[1]) if found else self._data.endswith(b"0\r\n\r\n")

    def connection_lost(self, _exc: Exception | None) -> None:
        self._end(good=False)

    def _end(self, *, good: bool) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(self, good)


async def paced(port: int, key: str, rate: float, seconds: float) -> dict[str, object]:
    """Arrivals of a Poisson process, whether or not the earlier ones are answered."""
    loop = asyncio.get_running_loop()
    idle: list[Connection] = []
    took_ms: list[float] = []
    failed = open_ = 0
    data = request(PROMPT_BYTES, key=key)
    clock = random.Random(1)  # noqa: S311 - arrivals, the same ones in every run
    due = time.monotonic()
    until = due + seconds
    while due < until:
        due += clock.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if not idle:
            idle.append((await loop.create_connection(Connection, "127.0.0.1", port))[1])

        def done(connection: Connection, good: bool, since: float = max(due, time.monotonic())) -> None:  # noqa: FBT001
            nonlocal failed, open_
            open_ -= 1
            if good:
                took_ms.append((time.monotonic() - since) * 1000)
                idle.append(connection)
            else:
                failed += 1

        open_ += 1
        idle.pop().ask(data, done)
    while open_:  # noqa: ASYNC110 - it is over in no time
        await asyncio.sleep(0.01)
    return {"count": len(took_ms), "failed": failed, **quantiles("ms", took_ms)}


async def streams(
    port: int, key: str, *, count: int, seconds: float, tokens: int, gap_ms: int
) -> dict[str, object]:
    """So many streams at any time, started one after the other."""
    loop = asyncio.get_running_loop()
    delays_ms: list[float] = []
    first_ms: list[float] = []
    failed = ended = chunks = 0
    # The stand-in engine reads length and pace of its answer there.
    data = request(PROMPT_BYTES, key=key, stream=True, seed=tokens * 1000 + gap_ms)
    until = time.monotonic() + seconds

    def sent_at(connection: Connection, sent_s: float) -> None:
        nonlocal chunks
        chunks += 1
        now_s = time.monotonic()
        if not connection.first:
            delays_ms.append((now_s - sent_s) * 1000)
        elif connection.asked_s:
            first_ms.append((now_s - connection.asked_s) * 1000)
            connection.asked_s = 0.0  # what was held back comes at once, and only its first byte counts

    def done(connection: Connection, good: bool) -> None:  # noqa: FBT001
        nonlocal failed, ended
        failed += not good
        if good and time.monotonic() < until:
            connection.ask(data, done)
        else:
            ended += 1
            connection.transport.close()

    for _ in range(count):
        connection = (
            await loop.create_connection(lambda: Connection(on_sent_at=sent_at), "127.0.0.1", port)
        )[1]
        connection.ask(data, done)
        await asyncio.sleep(tokens * gap_ms / 1000 / count)
    while ended < count:  # noqa: ASYNC110 - a hundredth of a second is exact enough
        await asyncio.sleep(0.01)
    return {
        "chunks": chunks, "failed": failed, **quantiles("delay_ms", delays_ms), **quantiles("first_ms", first_ms),
    }  # fmt: skip


async def cancel(port: int, key: str, times: int) -> dict[str, object]:
    """Leave streams after their first event; by stream, when that was."""
    loop = asyncio.get_running_loop()
    left: dict[str, float] = {}
    data = request(PROMPT_BYTES, key=key, stream=True, seed=500_020)
    for _ in range(times):
        seen = asyncio.Event()
        connection = (
            await loop.create_connection(
                lambda seen=seen: Connection(on_sent_at=lambda *_: seen.set()),  # type: ignore[misc]
                "127.0.0.1",
                port,
            )
        )[1]
        connection.ask(data, lambda *_: None)
        await asyncio.wait_for(seen.wait(), 10)
        found = _STREAM.search(connection._data)  # noqa: SLF001
        left[str(int(found[1])) if found else "?"] = time.monotonic()
        connection.transport.abort()
        await asyncio.sleep(0.02)
    return {"left": left}


def quantiles(name: str, values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [float("nan")]
    return {
        f"{name}_p50": ordered[len(ordered) // 2],
        f"{name}_p90": ordered[len(ordered) * 9 // 10],
        f"{name}_p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("paced", "streams", "cancel"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--gap-ms", type=int, default=20)
    args = parser.parse_args()
    made = {
        "paced": lambda: paced(args.port, args.key, args.rate, args.seconds),
        "streams": lambda: streams(
            args.port,
            args.key,
            count=args.count,
            seconds=args.seconds,
            tokens=args.tokens,
            gap_ms=args.gap_ms,
        ),
        "cancel": lambda: cancel(args.port, args.key, args.count),
    }
    print(json.dumps(uvloop.run(made[args.kind]())))


if __name__ == "__main__":
    main()
