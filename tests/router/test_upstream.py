"""Connections to engines: TLS, and the pool."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelfleet.api.route_table import ExternalTarget
from modelfleet.router import upstream
from tests.router.rig import (
    DONE,
    GOOD,
    SSE_HEAD,
    Engine,
    Peer,
    cascade,
    chunk,
    one_tier,
    post,
    read_answer,
    reply,
    router,
    tier,
    token,
    until,
)


def _certificate(folder: Path, *, address: str) -> tuple[Path, Path]:
    """A self-signed certificate for an address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    day = dt.timedelta(days=1)
    now = dt.datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + 3650 * day)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "ca.crt", folder / "tls.key"
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return cert_file, key_file


TRUST = {
    "its authority is trusted": ("127.0.0.1", True, 200),
    "its name is another": ("127.0.0.9", True, 503),
    "its authority is unknown": ("127.0.0.1", False, 503),
}


@pytest.mark.parametrize(("address", "trusted", "status"), TRUST.values(), ids=TRUST)
async def test_tls_is_verified(tmp_path: Path, address: str, trusted: bool, status: int):  # noqa: FBT001 - a row
    cert, key = _certificate(tmp_path, address=address)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    engine = Engine([reply(GOOD)])
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    target = ExternalTarget(f"https://127.0.0.1:{port}/v1", None, str(cert) if trusted else None)
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
