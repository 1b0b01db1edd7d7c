"""A router before a tier that sleeps, requests that wait for it, and operators that are called."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from modelfleet.api.route_table import CascadeRoute, ColdRule, RouterRules
from tests.router.rig import RULES, Answer, Rig, cascade, post, router, tier, until

HOLD = ColdRule(hold_s=60.0, held_max=10)


def cold_route(rule: ColdRule | None = HOLD, *, deadline_s: float = 8.0, **more: Any) -> CascadeRoute:
    return cascade(tier("small", weight=1000, cold=rule, **more), deadline_s=deadline_s)


@asynccontextmanager
async def cold(
    rule: ColdRule = HOLD, *, rules: RouterRules = RULES, deadline_s: float = 8.0, **more: Any
) -> AsyncIterator[Rig]:
    """A router before one tier without replicas."""
    async with router(cold_route(rule, deadline_s=deadline_s, **more), {}, rules=rules) as rig:
        yield rig


def held(rig: Rig) -> int:
    return rig.state.pools["small-mt", ""].stats.held


def turned_away(rig: Rig, why: str) -> int:
    return rig.state.fleet.lines["chat"].steps[0].stats.turned_away[why]


async def waiting(rig: Rig, number: int, **more: Any) -> list["asyncio.Task[Answer]"]:
    """So many requests that wait, one after the other."""
    before, tasks = held(rig), []
    for at in range(number):
        tasks.append(asyncio.create_task(rig.ask(post(user=f"u{at}", **more))))
        await until(lambda at=at: held(rig) == before + at + 1)  # type: ignore[misc]
    return tasks


@asynccontextmanager
async def operators(*statuses: list[int]) -> AsyncIterator[tuple[list[bytes], RouterRules]]:
    """Operators that answer with these statuses, the last one for ever; and what they were asked."""
    calls: list[bytes] = []
    servers = []
    for own in statuses:
        left = list(own)

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int] = left
        ) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            calls.append(head.split(b"\r\n")[0] + b" " + await reader.readexactly(length))
            status = left.pop(0) if len(left) > 1 else left[0]
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
            writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    try:
        yield calls, RouterRules(wake=tuple(f"127.0.0.1:{port}" for port in ports))
    finally:
        for server in servers:
            server.close()
