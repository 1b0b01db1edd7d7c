"""Routers as processes, and the control plane that they read."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from modelfleet.api.route_table import CascadeRoute, RouteTable
from modelfleet.desired import table
from tests.make import SETTINGS
from tests.router.rig import (
    Answer,
    config_map,
    post,
    read_answer,
    slices,
    until,
)

OPERATOR = Path(__file__).parents[2] / "operator"
WANTED = 3
START_S_MAX = 60.0  # three interpreters at once, on a busy machine


@dataclass
class ControlPlane:
    """Lists one table and the endpoints, and tells those who watch when the operator writes another."""

    cascades: tuple[CascadeRoute, ...]
    ports: dict[str, list[int]]
    ready: int = 0
    version: int = 1
    watching: list[asyncio.StreamWriter] = field(default_factory=list)

    def tables(self) -> dict[str, Any]:
        counted = table.rules(SETTINGS.router, ready=self.ready, wanted=WANTED)
        rules = replace(counted, external_allow=("127.0.0.0/8",))  # where the API of this test is
        return config_map(RouteTable(self.cascades, rules), version=str(self.version))

    def count(self, ready: int) -> None:
        """So many routers are ready; what the operator does when it sees that."""
        self.ready, self.version = ready, self.version + 1
        for each in self.tables().values():
            for writer in self.watching:
                writer.write(orjson.dumps({"type": "MODIFIED", "object": each}) + b"\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        if "watch=1" in path:
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            if "configmaps" in path:
                self.watching.append(writer)
            await reader.read()
        else:
            items = self.tables() if "configmaps" in path else slices(self.ports)
            version = {"resourceVersion": str(self.version)}
            body = orjson.dumps({"metadata": version, "items": list(items.values())})
            head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
        writer.close()


@dataclass
class Router:
    """A running `modelfleet-router`."""

    process: asyncio.subprocess.Process
    http: int = 0
    metrics: int = 0

    async def started(self) -> None:
        assert self.process.stdout is not None
        seen = set()
        async with asyncio.timeout(START_S_MAX):
            while not seen >= {"listening", "route table loaded", "endpoints changed"}:
                line = orjson.loads(await self.process.stdout.readline())
                seen.add(line["message"])
                if line["message"] == "listening":
                    self.http, self.metrics = line["http"], line["metrics"]

    async def ask(self, request: bytes, port: int = 0) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.http)
        writer.write(request)
        try:
            return await read_answer(reader)
        finally:
            writer.close()

    async def flood(self, requests: int) -> int:
        """So many requests one after the other; how many of them were answered."""
        return sum([(await self.ask(post())).status == 200 for _ in range(requests)])

    async def table(self) -> dict[str, Any]:
        """What the router believes."""
        get = b"GET /debug/table HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"
        found: dict[str, Any] = orjson.loads((await self.ask(get, self.metrics)).body)
        return found


@asynccontextmanager
async def fleet(
    *cascades: CascadeRoute, ports: dict[str, list[int]]
) -> AsyncIterator[tuple[ControlPlane, list[Router]]]:
    """Three routers that are ready, and counted."""
    plane = ControlPlane(cascades, ports)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(await asyncio.start_server(plane.serve, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{api.sockets[0].getsockname()[1]}"
        routers = [Router(await stack.enter_async_context(_process(url))) for _ in range(WANTED)]
        await asyncio.gather(*(each.started() for each in routers))
        await until(lambda: len(plane.watching) == WANTED)
        plane.count(WANTED)
        yield plane, routers


@asynccontextmanager
async def _process(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modelfleet.cli.route", "--api-server", url),
        *("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(OPERATOR), "MODELFLEET_NAMESPACE": "ns"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
