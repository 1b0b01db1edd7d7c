"""What every scenario begins with: a control plane, engines, and how long to go on."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import routers, site
from bench.load.client import Clients
from bench.load.routers import Router
from bench.router import load

PROMPT_BYTES = 200


@dataclass(frozen=True)
class Setting:
    """One run: where files go, and whether it is the long one."""

    folder: Path
    long: bool

    def seconds(self, short: float, long: float) -> float:
        return long if self.long else short


@dataclass
class World:
    """A running one."""

    plane: site.Plane
    works: list[site.Work]
    router: Router

    def clients(self) -> Clients:
        return Clients(self.router.port)


@asynccontextmanager
async def plane(
    tiers: Mapping[str, int], table: dict[str, object]
) -> AsyncIterator[tuple[site.Plane, list[site.Work]]]:
    """A control plane and, for each tier, so many engines."""
    found = site.Plane(asyncio.get_running_loop(), {site.TABLE: table})
    works: list[site.Work] = []
    for service, count in tiers.items():
        mine = await site.engines(found, count)
        found.serve(service, *(work.port for work in mine))
        works += mine
    await found.start()
    try:
        yield found, works
    finally:
        found.stop()


@asynccontextmanager
async def world(setting: Setting, tiers: Mapping[str, int], table: dict[str, object]) -> AsyncIterator[World]:
    """The same with a router that is ready."""
    async with plane(tiers, table) as (found, works), routers.ready_router(found, setting.folder) as router:
        yield World(found, works, router)


def ask(**fields: bool | int) -> bytes:
    """A request that the engines understand."""
    return load.request(PROMPT_BYTES, key="", **fields)


def dial(port: int, *, receive_bytes: int | None = None) -> socket.socket:
    """A connection of one's own, for clients that are not to behave."""
    found = socket.socket()
    if receive_bytes is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    found.connect(("127.0.0.1", port))
    found.setblocking(False)  # noqa: FBT003 - the library's own way
    return found
