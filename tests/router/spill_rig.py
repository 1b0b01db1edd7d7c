"""Tiers that cannot take what comes, and what left them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from modelfleet.api.route_table import OverflowRule, TierRoute
from modelfleet.route import call
from modelfleet.router.fleet import passage
from modelfleet.router.judged import JudgedExchange
from modelfleet.router.relay import Exchange, Shell
from tests.router.rig import (
    Act,
    Engine,
    Rig,
    cascade,
    engines,
    post,
    reply,
    router,
    tier,
    until,
)

ALL = ("Cold", "Saturated", "Error")
BROKEN = reply({"error": {}}, status=500)


def rule(*when: str, share: int = 100) -> OverflowRule:
    return OverflowRule(when or ALL, share)


@asynccontextmanager
async def tiers(
    overflow: OverflowRule | None,
    *acts: Sequence[Act],
    cold: Sequence[str] = (),
    spin: float = 0.0,
    **more: Any,
) -> AsyncIterator[tuple[Rig, list[Engine]]]:
    """A router over small, medium and big tiers of one replica with one place each; all requests start at `small`."""
    steps: list[TierRoute] = more.pop("steps", None) or [
        tier(name, weight=1000 if name == "small" else 0, concurrency=1, waiting=4)
        for name in ("small", "medium", "big")[: len(acts)]
    ]
    async with engines(*acts) as found:
        ports = {
            f"{step.name}-svc": [] if step.name in cold else [engine.port]
            for step, engine in zip(steps, found, strict=True)
        }
        async with router(cascade(*steps, overflow=overflow, **more), ports, spin=spin) as rig:
            yield rig, found


def counts(rig: Rig, name: str = "small") -> dict[str, int]:
    step = next(step for step in rig.state.fleet.lines["chat"].steps if step.route.name == name)
    return {cause: count for cause, count in step.stats.overflowed.items() if count}


@asynccontextmanager
async def busy(rig: Rig, found: list[Engine]) -> AsyncIterator[None]:
    """The first engine works on a request that does not end."""
    _, writer = await rig.connect()
    writer.write(post())
    await until(lambda: len(found[0].asked) == 1)
    try:
        yield
    finally:
        writer.close()
        await found[0].asked[0].gone.wait()


def restrict(rig: Rig, *places: int) -> None:
    """From here on every request may use these steps only."""
    line = rig.state.fleet.lines["chat"]
    way = passage(line.route, tuple(line.steps[place] for place in places), 0, line.share)
    shell = Shell(loop=asyncio.get_running_loop(), spin=lambda: 0.0, turn=lambda: 0)
    kind = JudgedExchange if way.judges else Exchange
    rig.server.on_request = lambda client, request: kind(
        client, request, call.parse(request.body), way, shell
    ).begin()
