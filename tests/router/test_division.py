"""What holds for all routers together: three processes, one table, and the operator's count of who is ready."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from modelfleet.api.route_table import CascadeRoute, ExternalTarget, OverflowRule, RouteTable
from modelfleet.desired import table
from tests.make import SETTINGS
from tests.router.rig import (
    GOOD,
    PATIENCE_S,
    Answer,
    cascade,
    config_map,
    engines,
    post,
    read_answer,
    reply,
    slices,
    tier,
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


async def believe(routers: Sequence[Router], count: int) -> None:
    """Wait until all of them have heard that they are so many."""
    async with asyncio.timeout(PATIENCE_S):
        while {(await each.table())["routers"] for each in routers} != {count}:  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(0.01)


async def kill(plane: ControlPlane, victim: Router) -> None:
    victim.process.kill()
    await victim.process.wait()
    plane.watching = [writer for writer in plane.watching if not writer.is_closing()]


async def test_the_share_that_overflows_holds_for_all_routers_however_clients_are_spread():
    rule = OverflowRule(("Error",), 20)
    route = cascade(tier("small", weight=1000), tier("big"), overflow=rule)
    async with engines([reply({}, status=500)], [reply(GOOD)]) as (small, big):
        ports = {"small-svc": [small.port], "big-svc": [big.port]}
        async with fleet(route, ports=ports) as (plane, routers):
            begun = 0
            for router, requests in zip(routers, (60, 25, 5), strict=True):
                await router.flood(requests)
                begun += requests
                assert len(big.asked) <= 0.2 * begun + WANTED
            # A router that dies takes its account with it, used and unused.
            await kill(plane, routers[0])
            for requests in (10, 20, 30):
                await routers[1].flood(requests)
                begun += requests

            assert 0.2 * begun - WANTED <= len(big.asked) <= 0.2 * begun + WANTED


async def test_an_api_is_asked_no_oftener_than_it_may_be_while_routers_come_and_go():
    per_minute = 1200
    burst, per_s = per_minute / 12, per_minute * 11 / 12 / 60
    loop = asyncio.get_running_loop()
    async with engines([reply(GOOD)]) as (api,):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None, requests_per_minute=per_minute)
        # Nobody may wait for the rate: what it does not let in is refused at once.
        route = cascade(tier("api", weight=1000, external=target), deadline_s=0.05)
        async with fleet(route, ports={}) as (plane, routers):
            begun_s = loop.time()

            def most(*, more: float = 0.0) -> float:
                """What they may have asked by now.  Every router rounds up to one request."""
                return burst + more + per_s * (loop.time() - begun_s) + WANTED

            await believe(routers, 3)
            assert [
                (await each.table())["modelTiers"][0]["rate"]["requestsPerMinute"] for each in routers
            ] == [400.0] * 3
            await asyncio.gather(*(each.flood(60) for each in routers))
            assert burst - WANTED <= len(api.asked) <= most()

            # One dies: its part is lost until the operator has counted again, and then the others have it.
            await kill(plane, routers[2])
            left = routers[:2]
            await asyncio.gather(*(each.flood(30) for each in left))
            assert len(api.asked) <= most()
            plane.count(2)
            await believe(left, 2)
            assert [(await each.table())["modelTiers"][0]["rate"]["requestsPerMinute"] for each in left] == [
                600.0
            ] * 2
            await asyncio.gather(*(each.flood(30) for each in left))
            assert len(api.asked) <= most()


async def test_who_is_refused_for_the_rate_is_told_when_to_ask_again():
    async with engines([reply(GOOD)]) as (api,):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None, requests_per_minute=3)
        route = cascade(tier("api", weight=1000, external=target), deadline_s=0.5)
        async with fleet(route, ports={}) as (_, routers):
            await believe(routers, 3)
            first, second = [await routers[0].ask(post()) for _ in range(2)]

            assert (first.status, second.status) == (200, 429)
            assert (second.error["code"], second.headers["retry-after"]) == ("rate_limit_exceeded", "30")
