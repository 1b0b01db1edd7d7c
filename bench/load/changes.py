"""A world that changes under load: weights, the control plane, routers and engines.  No request may notice."""

import asyncio
import math
import signal
import time
from contextlib import AsyncExitStack
from typing import Self

from bench.figures import Figure, ranged
from bench.load import routers
from bench.load.client import Clients, failures, quantile
from bench.load.routers import SERVICE_LAG_S, Router, Service
from bench.load.setting import Setting, ask, plane, world
from bench.load.site import table

RATE = 500.0
TIERS = {"small": 900, "big": 100}
TURNED = {"small": 100, "big": 900}
SETTLE_S = 0.1  # from a push to the moment from which shares are counted
# 99.9 % of a binomial's mass lies within so many standard deviations.
DEVIATIONS = 3.29
STREAMS = 40
STREAM_TOKENS, STREAM_GAP_MS = 50, 100


async def weight_flips(setting: Setting) -> list[Figure]:
    """Weights turn every second at 500 requests/s."""
    flips = 110 if setting.long else 12
    at: list[tuple[float, str]] = []
    async with world(setting, {"small": 1, "big": 1}, table(TIERS)) as found:
        clients = found.clients()
        load = asyncio.create_task(clients.paced(RATE, flips + 1.0, ask()))
        for flip in range(flips):
            await asyncio.sleep(1)
            weights = TIERS if flip % 2 else TURNED
            at.append((time.monotonic(), max(weights, key=lambda name: weights[name])))
            found.plane.write(table(weights))
        await load
    seen = clients.seen
    outside = sum(not _within(seen.tiers, since_s, heavy) for since_s, heavy in at[:-1])
    p99 = quantile(seen.took_ms, 0.99)
    return [
        ranged("weight_flips", len(at), [len(at)], "flips"),
        failures("weight_flip_failed_requests", [seen], refused=True),
        # One of a thousand windows lies outside by chance.
        ranged("weight_flip_windows_outside_the_bound", outside, [outside], f"of {len(at) - 1}", at_most=1),
        ranged("weight_flip_p99_ms", p99, [p99], "ms"),
    ]


def _within(tiers: list[tuple[float, str]], since_s: float, heavy: str) -> bool:
    """Whether the second after a flip has its new shares, within chance."""
    took = [tier for asked_s, tier in tiers if since_s + SETTLE_S <= asked_s < since_s + 1]
    share = max(TIERS.values()) / 1000
    bound = DEVIATIONS * math.sqrt(len(took) * share * (1 - share))
    return abs(took.count(heavy) - share * len(took)) <= bound


BROKEN = {
    "empty": "",
    "half written": '{"formatVersion": 1, "casc',
    "no cascades": '{"formatVersion": 1}',
    "weights of no sum": "",  # made below
}


async def control_plane(setting: Setting) -> list[Figure]:
    """Broken tables, then no API server at all, then a new one."""
    gone_s = setting.seconds(4, 60)
    async with world(setting, {"small": 1, "big": 1}, table(TIERS)) as found:
        clients = found.clients()
        load = asyncio.create_task(clients.paced(RATE, gone_s + len(BROKEN) + 8.0, ask()))
        for text in BROKEN.values():
            found.plane.write(text or table({"small": 0, "big": 7}))
            await asyncio.sleep(1)
        found.plane.stop()
        await asyncio.sleep(gone_s)
        found.plane.write(table({"small": 0, "big": 1000}))
        back_s = time.monotonic()
        await found.plane.start()
        await load
    since_s = max((asked_s for asked_s, tier in clients.seen.tiers if tier == "small"), default=back_s)
    return [
        failures("control_plane_gone_failed_requests", [clients.seen], refused=True),
        # The watch comes back with a growing, jittered pause: 20 s at most.
        ranged("control_plane_back_to_effect_s", since_s - back_s, [since_s - back_s], "s", at_most=20),
    ]


async def rolling(setting: Setting) -> list[Figure]:
    """Routers replaced one after the other under long streams, then a tier's engines, then one router killed."""
    async with plane({"small": 2}, table({"small": 1000})) as (control, works), AsyncExitStack() as stack:
        service = Service()
        await service.start()
        fleet = [
            await stack.enter_async_context(routers.ready_router(control, setting.folder)) for _ in range(2)
        ]
        service.endpoints = [each.port for each in fleet]

        async with UnderLoad(service.port) as during:
            for place in range(2):
                fresh = await stack.enter_async_context(routers.ready_router(control, setting.folder))
                await _replace(service, fleet[place], fresh)
                fleet[place] = fresh
        rolled = during.clients

        async with UnderLoad(service.port) as during:
            for work in works:
                # As a rolling update does: out of the slices, finish what is there, come back.
                control.serve("small", *(each.port for each in works if each is not work))
                await asyncio.sleep(STREAM_TOKENS * STREAM_GAP_MS / 1000 + 1)
                control.serve("small", *(each.port for each in works))
                await asyncio.sleep(1)
        tiers = during.clients

        async with UnderLoad(service.port) as during:
            await asyncio.sleep(2)
            dead = fleet[0].port
            carried = service.carried[dead] - service.opened[dead]
            refused = service.refused
            fleet[0].signal(signal.SIGKILL)
            await asyncio.sleep(SERVICE_LAG_S)  # kube-proxy goes on sending to it
            service.endpoints = [fleet[1].port]
            carried += service.opened[dead]  # with those that it was taking as it died
        killed = during.clients
        refused = service.refused - refused
        await service.stop()
    lost = _failed(*killed) - refused
    stale = sum(each.seen.stale for each in rolled)
    return [
        _counted("rolling_routers_failed", rolled),
        ranged("rolling_routers_asked_again", stale, [stale], "requests on a kept-alive connection that was closing"),
        _counted("rolling_tier_failed", tiers),
        # Nobody can save what the killed one was answering.
        Figure("router_killed_lost", lost, lost, lost, f"requests of {carried} connections", f"<= {carried}", lost <= carried),
        ranged("router_killed_refused", refused, [refused], f"connections in the {SERVICE_LAG_S:g} s until the slices follow"),
    ]  # fmt: skip


async def _replace(service: Service, old: Router, fresh: Router) -> None:
    """As a Deployment does: the new one is ready first, then the old one is told to end."""
    service.endpoints = [*service.endpoints, fresh.port]
    old.signal(signal.SIGTERM)
    await asyncio.sleep(SERVICE_LAG_S)
    service.endpoints = [port for port in service.endpoints if port != old.port]
    await old.gone()


class UnderLoad:
    """Requests on kept-alive and on fresh connections, and long streams one after the other, until left."""

    def __init__(self, port: int) -> None:
        self.clients = [Clients(port) for _ in range(3)]
        self._over = False

    async def __aenter__(self) -> Self:
        kept, fresh, streams = self.clients
        long = ask(stream=True, seed=STREAM_TOKENS * 1000 + STREAM_GAP_MS)
        close = ask().replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
        self._tasks = [asyncio.create_task(self._again(streams, long, number)) for number in range(STREAMS)]
        self._tasks += [asyncio.create_task(self._again(kept, ask(), number)) for number in range(4)]
        self._tasks += [asyncio.create_task(self._again(fresh, close, number)) for number in range(4)]
        return self

    async def _again(self, clients: Clients, request: bytes, number: int) -> None:
        await asyncio.sleep(number / 20)
        while not self._over:
            await clients.one(request)
            await asyncio.sleep(0.02)

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)
        for each in self.clients:
            each.close()


def _failed(*clients: Clients) -> int:
    return sum(sum(each.seen.failed.values()) + len(each.seen.refused_s) for each in clients)


def _counted(name: str, clients: list[Clients]) -> Figure:
    return failures(name, [each.seen for each in clients], refused=True)
