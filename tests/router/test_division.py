"""What holds for all routers together: three processes, one table, and the operator's count of who is ready."""

import asyncio
from collections.abc import Sequence

from modelfleet.api.route_table import ExternalTarget, OverflowRule
from tests.router.processes import WANTED, ControlPlane, Router, fleet
from tests.router.rig import (
    GOOD,
    PATIENCE_S,
    cascade,
    engines,
    post,
    reply,
    tier,
)


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
