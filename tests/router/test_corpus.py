"""Bytes that somebody once used, or might use, to be taken for something else.  The rows are in corpus/."""

import asyncio
import gc
import re
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.router.corpus_rows import ANSWERS, BODIES, BODY, REQUESTS, body, data
from tests.router.rig import (
    GOOD,
    PATIENCE_S,
    Rig,
    cascade,
    one_tier,
    post,
    raw,
    router,
    tier,
)


@dataclass
class Recorder:
    """An engine that keeps every byte it gets, and answers whatever looks like a request."""

    port: int = 0
    heard: list[bytearray] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        self.heard.append(heard)
        body = orjson.dumps(GOOD)
        try:
            while piece := await reader.read(65536):
                heard += piece
                for _ in re.findall(rb"\r\n\r\n", piece):
                    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def requests(self) -> int:
        """How many requests came, read strictly by their lengths; fails when anything is left over."""
        count = 0
        for heard in self.heard:
            rest = bytes(heard)
            while rest:
                whole = re.match(
                    rb"POST /v1/chat/completions HTTP/1\.1\r\n(?:[a-z-]+: [^\r\n]*\r\n)*content-length: (\d+)\r\n\r\n",
                    rest,
                )
                assert whole, rest
                end = whole.end() + int(whole[1])
                assert orjson.loads(rest[whole.end() : end])["model"] == "small-served"
                rest, count = rest[end:], count + 1
        return count


@asynccontextmanager
async def recorded(**limits: Any) -> AsyncIterator[tuple[Rig, Recorder]]:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.port = server.sockets[0].getsockname()[1]
    async with router(cascade(tier("small", weight=1000), **limits), {"small-svc": [recorder.port]}) as rig:
        yield rig, recorder
    server.close()


async def exchange(rig: Rig, sent: bytes, *, piece: int) -> bytes:
    """All that comes back until the connection ends, in whatever way."""
    loop = asyncio.get_running_loop()
    came = bytearray()
    with socket.socket() as client, suppress(ConnectionError):
        client.setblocking(False)  # noqa: FBT003 - its own name for it
        await loop.sock_connect(client, ("127.0.0.1", rig.port))
        with suppress(ConnectionError):
            for at in range(0, len(sent), piece):
                await loop.sock_sendall(client, sent[at : at + piece])
                await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            while data := await loop.sock_recv(client, 65536):
                came += data
    return bytes(came)


def statuses(came: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", came)]


@pytest.mark.parametrize("row", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("piece", [1 << 20, 7], ids=["whole", "in pieces"])
async def test_no_bytes_are_taken_for_two_requests(row: dict[str, Any], piece: int):
    async with recorded() as (rig, recorder):
        came = await exchange(rig, data(row["sent"]), piece=piece)

        assert statuses(came) == row["answers"]
        assert recorder.requests() == row["upstream"]
        for status in row["answers"]:
            assert status == 200 or b'{"error":{"message":"' in came


BODY_BYTES_MAX = 250_000


@pytest.mark.parametrize("row", BODIES.values(), ids=BODIES)
async def test_bodies_are_read_in_one_way(row: dict[str, Any]):
    async with recorded(max_body_bytes=BODY_BYTES_MAX) as (rig, recorder):
        answer = await rig.ask(post(body(row["sent"])))

        assert answer.status == row["status"]
        assert recorder.requests() == (1 if answer.status == 200 else 0)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_bad_bodies_leave_no_memory_behind():
    bad = [post(body(row["sent"])) for row in BODIES.values() if row["status"] != 200]
    async with recorded(max_body_bytes=BODY_BYTES_MAX) as (rig, _):
        seen = []
        for _ in range(4):
            for _ in range(5):
                for sent in bad:
                    await rig.ask(sent)
            gc.collect()
            seen.append(resident_bytes())

        # The first rounds warm up what the allocator keeps.
        assert seen[-1] - seen[1] < 2 << 20


@pytest.mark.parametrize("row", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("piece", [1 << 20, 7], ids=["whole", "in pieces"])
async def test_answers_are_told_from_what_is_none(row: dict[str, Any], piece: int):
    sent = body(row["sent"])
    step_bytes = max(piece, len(sent) // 100)
    pieces = [sent[at : at + step_bytes] for at in range(0, len(sent), step_bytes)]
    async with one_tier([raw(*pieces)]) as (rig, _):
        answer = await rig.ask(post(stream=row.get("stream", False)))

        step = rig.state.fleet.lines["chat"].steps[0]
        assert answer.status == row["status"]
        assert answer.complete is row.get("complete", True)
        assert step.stats.attempts[row["outcome"]] > 0
        assert "set-cookie" not in answer.headers
        assert answer.headers.get("x-modelfleet-tier", "small") == "small"
        assert (step.stats.in_flight, step.pool.replicas[0].in_flight) == (0, 0)


# Whichever way a path is written, only ours are served, and only the models' are forwarded, under our own name.
TARGETS: dict[str, tuple[str, int]] = {
    "ours": ("/v1/chat/completions", 200),
    "with a query": ("/v1/chat/completions?x=/metrics", 200),
    "absolute": ("http://r/v1/chat/completions", 200),
    "absolute, of another host": ("http://engine:8000/v1/chat/completions", 200),
    "absolute, with a user": ("http://a@r/v1/chat/completions", 200),
    "absolute, with TLS": ("https://r/v1/chat/completions?x=y", 200),
    "absolute, in capitals": ("HTTP://r/v1/chat/completions", 200),
    "absolute, of another kind": ("ftp://r/v1/chat/completions", 404),
    "absolute, without a path": ("http://r", 404),
    "absolute, an engine's own path": ("http://r/slots", 404),
    "absolute in absolute": ("http://r/http://engine/v1/chat/completions", 404),
    "two slashes at the beginning": ("//v1/chat/completions", 404),
    "two slashes in the middle": ("/v1//chat/completions", 404),
    "a slash at the end": ("/v1/chat/completions/", 404),
    "a dot": ("/v1/./chat/completions", 404),
    "two dots": ("/v1/chat/completions/../../slots", 404),
    "two dots, encoded": ("/v1/chat/completions/%2e%2e/%2e%2e/slots", 404),
    "two dots, encoded twice": ("/v1/%252e%252e/slots", 404),
    "a slash, encoded": ("/v1%2fchat%2fcompletions", 404),
    "a letter, encoded": ("/v1/ch%61t/completions", 404),
    "a parameter": ("/v1/chat/completions;x=y", 404),
    "a parameter before a slash": ("/v1/chat;x/completions", 404),
    "a fragment": ("/v1/chat/completions#/slots", 404),
    "backslashes": ("/v1\\chat\\completions", 404),
    "other letters": ("/V1/chat/completions", 404),
    "no slash": ("v1/chat/completions", 400),
    "an asterisk": ("*", 404),
    "an engine's own path": ("/tokenize", 404),
    "vLLM's switch": ("/pause", 404),
    "vLLM's other door": ("/invocations", 404),
    "llama.cpp's slots": ("/slots/0?action=erase", 404),
    "a path of the API that we do not serve": ("/v1/files", 404),
    "what the metrics port shows": ("/debug/table", 404),
}


@pytest.mark.parametrize(("target", "status"), TARGETS.values(), ids=TARGETS)
async def test_only_our_paths_are_forwarded(target: str, status: int):
    async with recorded() as (rig, recorder):
        head = (
            f"POST {target} HTTP/1.1\r\nhost: r\r\nconnection: close\r\ncontent-length: {len(BODY)}\r\n\r\n"
        )
        came = await exchange(rig, head.encode() + BODY, piece=1 << 20)

        assert statuses(came) == [status]
        assert recorder.requests() == (1 if status == 200 else 0)
