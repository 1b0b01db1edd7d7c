"""An external tier that cannot be asked: told before anybody has asked it, and until it can be."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from e2e.cluster.pki import Authority, Pair
from modelfleet.api.route_table import ExternalTarget, RouterRules
from tests.router.rig import GOOD, Engine, Rig, cascade, engines, post, reply, router, tier, until

FAR_S = 100.0  # later than whatever is out is looked at again


def outage(rig: Rig) -> str:
    """Why the tier cannot be asked, as the metrics tell it; empty: it can."""
    text = generate_latest(rig.state.metrics.registry()).decode()
    rows = [line for line in text.splitlines() if line.startswith("modelfleet_router_external_down{")]
    return rows[0].split('reason="')[1].split('"')[0] if rows else ""


def look(rig: Rig, *, after_s: float = 0.0) -> None:
    """Let the router look at its replicas, then."""
    rig.state.sweep(asyncio.get_running_loop().time() + after_s)


@asynccontextmanager
async def api(cert: Pair, port: int = 0) -> AsyncIterator[Engine]:
    """An API with this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert.cert, cert.key)
    engine = Engine([reply(GOOD)])
    server = await asyncio.start_server(engine.serve, "127.0.0.1", port, ssl=context)
    engine.port = server.sockets[0].getsockname()[1]
    try:
        yield engine
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def beside_small(target: ExternalTarget, **how: RouterRules) -> AsyncIterator[Rig]:
    async with engines([reply(GOOD)]) as (small,):
        route = cascade(tier("small"), tier("frontier", weight=1000, external=target))
        async with router(route, {"small-svc": [small.port]}, **how) as rig:
            yield rig


async def test_bad_certificate_is_told_until_it_is_good(tmp_path: Path):
    (tmp_path / "stranger").mkdir()
    ours, stranger = Authority(tmp_path), Authority(tmp_path / "stranger")
    bad, good = (each.issue("api", "api", hosts=["127.0.0.1"]) for each in (stranger, ours))
    async with AsyncExitStack() as first:
        engine = await first.enter_async_context(api(bad))
        target = ExternalTarget(f"https://127.0.0.1:{engine.port}/v1", None, str(ours.pair.cert))
        async with beside_small(target) as rig:
            ejected = rig.state.fleet.lines["chat"].steps[1].pool.stats.ejected
            assert outage(rig) == "", "nothing is known of it"
            look(rig)
            await until(lambda: outage(rig) == "TLS")
            # Nobody waits for what cannot come.
            answer = await rig.ask(post())
            assert (answer.headers["x-modelfleet-tier"], answer.headers["x-modelfleet-attempts"]) == (
                "small",
                "1",
            )
            look(rig, after_s=FAR_S)
            await until(lambda: ejected["Unreachable"] == 2)
            assert (outage(rig), engine.asked) == ("TLS", [])

            await first.aclose()
            async with api(good, engine.port) as mended:
                look(rig, after_s=2 * FAR_S)
                await until(lambda: outage(rig) == "")
                answer = await rig.ask(post())
                assert (answer.headers["x-modelfleet-tier"], len(mended.asked)) == ("frontier", 1)


OUT_OF_REACH = {
    "nobody listens": (ExternalTarget("http://127.0.0.1:1/v1", None, None), RouterRules(), "Refused"),
    "the address is denied": (
        ExternalTarget("http://localhost:1/v1", None, None),
        RouterRules(external_allow=("203.0.113.0/24",)),
        "AddressDenied",
    ),
    "no such name": (ExternalTarget("http://no-such-name.invalid/v1", None, None), RouterRules(), "Refused"),
}


@pytest.mark.parametrize(("target", "rules", "want"), OUT_OF_REACH.values(), ids=OUT_OF_REACH)
async def test_what_is_told(target: ExternalTarget, rules: RouterRules, want: str):
    async with beside_small(target, rules=rules) as rig:
        look(rig)
        await until(lambda: outage(rig) == want)


UNUSABLE = {
    "its key is missing": (ExternalTarget("http://127.0.0.1:1/v1", "/no/such/key", None), "KeyMissing"),
    "its authority is missing": (ExternalTarget("https://127.0.0.1:1/v1", None, "/no/such/ca"), "CAMissing"),
    "its address is none": (ExternalTarget("ftp://api/v1", None, None), "BadURL"),
}


@pytest.mark.parametrize(("target", "want"), UNUSABLE.values(), ids=UNUSABLE)
async def test_what_is_told_without_a_look(target: ExternalTarget, want: str):
    async with beside_small(target) as rig:
        assert outage(rig) == want


async def test_one_that_works_or_rests_is_not_told():
    busy = reply({}, status=429, fields="Retry-After: 30\r\n")
    async with AsyncExitStack() as stack:
        (one,) = await stack.enter_async_context(engines([reply(GOOD), busy]))
        target = ExternalTarget(f"http://127.0.0.1:{one.port}/v1", None, None)
        rig = await stack.enter_async_context(beside_small(target))
        for want in ("frontier", "small", "small"):
            look(rig)
            assert (await rig.ask(post())).headers["x-modelfleet-tier"] == want
            assert outage(rig) == ""
