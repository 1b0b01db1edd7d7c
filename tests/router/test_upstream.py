"""Connections to engines: TLS, and the pool."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.pki import Authority
from modelfleet.api.route_table import ExternalTarget, RouterRules, RouteTable
from modelfleet.route.outside import Outside
from modelfleet.router import debug, upstream
from tests.router.rig import (
    DONE,
    GOOD,
    SSE_HEAD,
    Engine,
    Peer,
    cascade,
    chunk,
    config_map,
    one_tier,
    post,
    read_answer,
    reply,
    router,
    tier,
    token,
    until,
)

TRUST = {
    "its authority is trusted": ("127.0.0.1", True, 200),
    "its name is another": ("127.0.0.9", True, 503),
    "its authority is unknown": ("127.0.0.1", False, 503),
}


@pytest.mark.parametrize(("address", "trusted", "status"), TRUST.values(), ids=TRUST)
async def test_tls_is_verified(tmp_path: Path, address: str, trusted: bool, status: int):  # noqa: FBT001 - a row
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pair = authority.issue("engine", "engine", hosts=[address])
    context.load_cert_chain(pair.cert, pair.key)
    engine = Engine([reply(GOOD)])
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    target = ExternalTarget(
        f"https://127.0.0.1:{port}/v1", None, str(authority.pair.cert) if trusted else None
    )
    async with router(cascade(tier("frontier", weight=1000, external=target)), {}) as rig:
        answer = await rig.ask(post())

        assert answer.status == status
        outcomes = rig.state.fleet.lines["chat"].steps[0].stats.attempts
        assert outcomes["TLS"] == (0 if status == 200 else 1)
        assert len(engine.asked) == (1 if status == 200 else 0)
    server.close()


async def test_idle_connections_are_given_back():
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        await rig.ask(post())
        rig.state.sweep(asyncio.get_running_loop().time() + upstream.IDLE_S_MAX + 1)
        async with asyncio.timeout(5):
            await engine.asked[0].gone.wait()


async def test_connections_of_a_replica_that_left_are_closed():
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        await rig.ask(post())
        rig.state.endpoint_slices_changed({})
        async with asyncio.timeout(5):
            await engine.asked[0].gone.wait()


async def test_request_under_way_outlives_its_replica():
    async with one_tier([]) as (rig, (engine,)):

        async def answer_late(peer: object) -> None:
            rig.state.endpoint_slices_changed({})
            await reply(GOOD)(peer)  # type: ignore[arg-type]

        engine.acts = [answer_late]
        assert (await rig.ask(post())).status == 200
        async with asyncio.timeout(5):
            await engine.asked[0].gone.wait()


async def test_connection_held_back_by_a_slow_client_serves_the_next_one():
    burst = SSE_HEAD + b"".join(chunk(token("x" * 60_000)) for _ in range(100)) + chunk(DONE) + b"0\r\n\r\n"

    async def answer_in_one_burst(peer: Peer) -> None:
        peer.writer.write(burst)

    async with one_tier([answer_in_one_burst, reply(GOOD)]) as (rig, (engine,)):
        reader, writer = await rig.connect()
        writer.transport.pause_reading()
        writer.write(post(stream=True))
        await until(lambda: len(engine.asked) == 1)
        held_back = next(iter(rig.server.crowd.clients))
        await until(lambda: held_back._transport.get_write_buffer_size() > 0)
        writer.transport.resume_reading()
        first = await read_answer(reader)
        second = await rig.ask(post())

        assert first.complete
        assert (second.status, second.headers["x-modelfleet-attempts"]) == (200, "1")
        assert engine.asked[0].writer is engine.asked[1].writer
        writer.close()


async def test_pooled_connection_is_always_read():
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        await rig.ask(post())
        replica = rig.state.fleet.lines["chat"].steps[0].pool.replicas[0]
        pooled = replica._idle.pop()
        # As when the last bytes of an answer overfill its client's buffer.
        pooled.pause()
        pooled._finish()

        assert (await rig.ask(post())).status == 200
        assert engine.asked[0].writer is engine.asked[1].writer


# Addresses of external tiers.


async def test_denied_address_is_never_connected_to(caplog: pytest.LogCaptureFixture):
    engine = Engine([reply(GOOD)])
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    # A name, so that it is its address that is denied.
    target = ExternalTarget(f"http://localhost:{server.sockets[0].getsockname()[1]}/v1", None, None)
    rules = RouterRules(external_allow=("203.0.113.0/24",))
    async with router(cascade(tier("frontier", weight=1000, external=target)), {}, rules=rules) as rig:
        answers = [await rig.ask(post()) for _ in range(2)]

        step = rig.state.fleet.lines["chat"].steps[0]
        assert [answer.status for answer in answers] == [503, 503]
        assert step.stats.attempts["AddressDenied"] == 2
        assert "127.0.0.1" in step.pool.replicas[0].denied
        assert b"addressDenied" in debug.table(rig.state, now_s=0.0)
        said = [record for record in caplog.records if "denied" in record.message]
        assert len(said) == 1
        assert not engine.asked
    server.close()


async def test_new_rules_hold_for_connections_that_are_open():
    engine = Engine([reply(GOOD)])
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    target = ExternalTarget(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", None, None)
    route = cascade(tier("frontier", weight=1000, external=target))
    async with router(route, {}) as rig:
        before = await rig.ask(post())
        denying = RouteTable((route,), RouterRules(external_deny=("127.0.0.1/32",)))
        rig.state.config_maps_changed(config_map(denying, version="2"), now_s=2.0)
        after = await rig.ask(post())

        assert (before.status, after.status) == (200, 503)
        async with asyncio.timeout(5):
            await engine.asked[0].gone.wait()
    server.close()


class Names:
    """A loop whose names mean what a test says, and which only remembers where it was sent."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self._loop = asyncio.get_running_loop()
        self.opened: list[tuple[str, str | None]] = []
        self.dead: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in self._answers.pop(0)]

    async def create_connection(
        self, _factory: Any, host: str, _port: int, *, ssl: Any, server_hostname: str | None
    ) -> None:
        self.opened.append((host, server_hostname))
        if host in self.dead:
            raise OSError


class Nobody:
    """Takes an answer and remembers how it was lost."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def upstream_head(self, status: int, headers: upstream.Headers, *, length_known: bool) -> None: ...
    def upstream_body(self, data: bytes) -> None: ...
    def upstream_end(self) -> None: ...
    def upstream_lost(self, outcome: str, *, stale: bool) -> None:
        self.lost.append(outcome)


MEANT: dict[str, tuple[list[str], list[str], list[str]]] = {
    "metadata": (["169.254.169.254"], [], ["AddressDenied"]),
    "metadata beside a public one": (["169.254.169.254", "203.0.113.7"], ["203.0.113.7"], []),
    "one that is dead, and one that is not": (
        ["203.0.113.9", "203.0.113.7"],
        ["203.0.113.9", "203.0.113.7"],
        [],
    ),
    "one that is dead": (["203.0.113.9"], ["203.0.113.9"], ["Refused"]),
    "this host in an address of six": (["::ffff:127.0.0.1"], [], ["AddressDenied"]),
    "nothing": ([], [], ["AddressDenied"]),
}


@pytest.mark.parametrize(("addresses", "opened", "lost"), MEANT.values(), ids=MEANT)
async def test_the_address_that_was_judged_is_the_one_connected_to(
    addresses: list[str], opened: list[str], lost: list[str]
):
    # The name means something else when it is asked again; nobody asks again.
    loop, nobody = Names(addresses, ["169.254.169.254"]), Nobody()
    loop.dead = {"203.0.113.9"}
    tls = ssl.create_default_context()
    made = upstream.Replica("api.example.com", 443, loop=loop, tls=tls, outside=Outside())  # type: ignore[arg-type]
    connecting = made.send(nobody, b"").connecting
    assert connecting is not None
    await connecting

    assert loop.opened == [(address, "api.example.com") for address in opened]
    assert nobody.lost == lost
