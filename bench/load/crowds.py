"""Many clients: idle streams, readers and senders that are slow; what they weigh, and what others notice of them."""

import asyncio
import itertools
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench.figures import ROOT, Figure, ranged
from bench.load.client import Clients, Connection, failures, quantile
from bench.load.routers import Router
from bench.load.setting import Setting, World, ask, dial, world
from bench.load.site import table

STREAMS = 10_000
# For others than the streams, of which each takes two of the router's.
SPARE_FILES = 512
IDLE_S = 600
BATCH = 200
RATE = 100.0  # of others, meanwhile

READERS = 50
READ_BYTES = 1024
READER_BUFFER = 4096
GREW_BYTES = 1 << 20  # a second; a buffer makes room in large steps
STEADY_S_MAX = 90.0

HEADS, BODIES, LARGE_BODIES = 300, 300, 80
LARGE_BYTES = 2_000_000
DRIP_S = 0.5


async def open_streams(setting: Setting) -> list[Figure]:
    """As many open idle streams as file descriptors allow, and what the router weighs with them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(STREAMS, (hard - SPARE_FILES) // 2)
    count = count if setting.long else count // 5
    with _engine_alone() as port:
        async with world(
            setting, {}, table({"small": 1000}, concurrency=2 * STREAMS, deadline_s=900)
        ) as found:
            found.plane.serve("small", port)
            await _answers(found.clients())
            before = found.router.rss_mib
            streams = await _opened(found.router, count)
            others = found.clients()
            await others.paced(RATE, setting.seconds(3, 15), ask())
            open_ = sum(not stream.closed and stream.head.startswith(b"HTTP/1.1 200") for stream in streams)
            full = found.router.rss_mib
            for stream in streams:
                stream.transport.abort()
            await _answers(found.clients())
    errors = count - open_ + sum(others.seen.failed.values()) + len(others.seen.refused_s)
    each_kib = (full - before) * 1024 / max(1, open_)
    p99 = quantile(others.seen.took_ms, 0.99)
    return [
        Figure(
            "open_streams", open_, open_, open_, "streams", f">= {STREAMS}", open_ >= STREAMS,
            None if open_ >= STREAMS else f"the hard limit of file descriptors is {hard} here" if setting.long else "short run",
        ),
        ranged("open_streams_errors", errors, [errors], "requests", at_most=0),
        ranged("open_streams_rss_mib", full, [before, full], "MiB", at_most=1024),
        ranged("open_streams_kib_each", each_kib, [each_kib], "KiB"),
        ranged("open_streams_rss_mib_at_10000", before + each_kib * STREAMS / 1024, [before], "MiB", at_most=1024),
        ranged("open_streams_others_p99_ms", p99, [p99], "ms"),
    ]  # fmt: skip


@contextmanager
def _engine_alone() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load.site"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _answers(clients: Clients) -> None:
    """Until an answer comes: the router knows its endpoint, and has places again."""
    while not clients.seen.ended_s:
        await clients.one(ask())
        await asyncio.sleep(0.1)


async def _opened(router: Router, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    request = ask(stream=True, idle_s=IDLE_S)
    found: list[Connection] = []
    while len(found) < count:
        some = await asyncio.gather(
            *(
                loop.create_connection(Connection, "127.0.0.1", router.port)
                for _ in range(min(BATCH, count - len(found)))
            )
        )
        for _, stream in some:
            stream.ask(request, lambda *_: None)
            found.append(stream)
        for _ in range(3000):
            if all(b"data:" in stream.head for _, stream in some):
                break
            await asyncio.sleep(0.01)
    return found


async def slow_readers(setting: Setting) -> list[Figure]:
    """Readers of 1 KB/s before engines that write as fast as they can: what the engines get rid of."""
    seconds = setting.seconds(5, 60)
    async with world(setting, {"small": 2}, table({"small": 1000}, deadline_s=900)) as found:
        before = found.router.rss_mib
        readers = [dial(found.router.port, receive_bytes=READER_BUFFER) for _ in range(READERS)]
        for reader in readers:
            reader.send(ask(stream=True, flood=1))
        reading = asyncio.create_task(_read_slowly(readers))
        filled = await _steady(found)  # every buffer on the way is full
        others = found.clients()
        most_mib = asyncio.create_task(_most_mib(found.router, seconds))
        await others.paced(RATE, seconds, ask())
        grown = await most_mib - before
        sent = [count / 2**20 for work in found.works for count in work.flooded.values()]
        reading.cancel()
        for reader in readers:
            reader.close()
    p99 = quantile(others.seen.took_ms, 0.99)
    held = quantile(sent, 0.5)
    return [
        ranged("slow_readers_router_grows_mib", grown, [grown], "MiB", at_most=256),
        # All that two pairs of socket buffers and the router hold of a stream that is hardly read.
        ranged("slow_readers_engine_sent_mib_each", held, sent, "MiB", at_most=13),
        ranged("slow_readers_engines_still_write", filled, [filled], "streams", at_most=0),
        failures("slow_readers_others_failed", [others.seen], refused=True),
        ranged("slow_readers_others_p99_ms", p99, [p99], "ms"),
    ]


async def _steady(found: World) -> int:
    """Until no engine gets rid of more than its readers read; how many still do when patience ends."""
    grew = 1
    until_s = time.monotonic() + STEADY_S_MAX
    while grew and time.monotonic() < until_s:
        before = [dict(work.flooded) for work in found.works]
        await asyncio.sleep(1)
        grew = sum(
            count - seen.get(stream, 0) > GREW_BYTES
            for work, seen in zip(found.works, before, strict=True)
            for stream, count in work.flooded.items()
        )
    return grew


async def _read_slowly(readers: list[socket.socket]) -> None:
    while True:
        for reader in readers:
            with suppress(BlockingIOError, ConnectionError):
                reader.recv(READ_BYTES)
        await asyncio.sleep(1)


async def _most_mib(router: Router, seconds: float) -> float:
    most = 0.0
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        most = max(most, router.rss_mib)
        await asyncio.sleep(0.25)
    return most


async def slow_senders(setting: Setting) -> list[Figure]:
    """Heads and bodies that come byte by byte, and large bodies that stop before their end."""
    seconds = setting.seconds(14, 75)
    async with world(setting, {"small": 2}, table({"small": 1000})) as found:
        before = found.router.rss_mib
        heads = [dial(found.router.port) for _ in range(HEADS)]
        bodies = [dial(found.router.port) for _ in range(BODIES)]
        large = [dial(found.router.port) for _ in range(LARGE_BODIES)]
        start = b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: %d\r\n\r\n" % (
            LARGE_BYTES + 1
        )
        for each in bodies + large:
            each.send(start)
        others = found.clients()
        most_mib = asyncio.create_task(_most_mib(found.router, seconds))
        pouring = [asyncio.create_task(_pour(each)) for each in large]
        heads_s, bodies_s, _ = await asyncio.gather(
            _drip(heads, b"POST /" + b"x" * 10_000, seconds),
            _drip(bodies, b" ", seconds),
            others.paced(RATE, seconds, ask()),
        )
        await asyncio.gather(*pouring)
        grown = await most_mib - before
        for each in heads + bodies + large:
            each.close()
    p99 = quantile(others.seen.took_ms, 0.99)
    return [
        ranged("slow_heads_kept_s", heads_s, [heads_s], "s", at_most=12),
        ranged("slow_bodies_kept_s", bodies_s, [bodies_s], "s", at_most=62),
        ranged("slow_senders_router_grows_mib", grown, [grown], "MiB", at_most=128),
        failures("slow_senders_others_failed", [others.seen], refused=True),
        ranged("slow_senders_others_p99_ms", p99, [p99], "ms"),
    ]


async def _drip(senders: list[socket.socket], text: bytes, seconds: float) -> float:
    """One byte at a time; how long the last of them was listened to."""
    began_s = kept_s = time.monotonic()
    left = senders
    for at in itertools.count():
        if not left or time.monotonic() - began_s > seconds:
            break
        left = [each for each in left if _listens(each, text[at % len(text) : at % len(text) + 1])]
        kept_s = time.monotonic() if left else kept_s
        await asyncio.sleep(DRIP_S)
    return kept_s - began_s


def _listens(sender: socket.socket, data: bytes) -> bool:
    try:
        sender.send(data)
        sender.recv(1)  # an answer means that it was given up
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


async def _pour(sender: socket.socket) -> None:
    """All of a large body but its end."""
    with suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(sender, b" " * LARGE_BYTES)
