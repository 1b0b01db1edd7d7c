"""API keys as a mounted Secret that the kubelet changes, and what clients are told."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from modelfleet.route.refusal import Refused
from modelfleet.router.keys import KeyRing
from tests.router.key_mount import Mount, digest
from tests.router.rig import GOOD, Engine, Rig, cascade, engines, post, reply, router, tier

KEY = "mf-0123456789abcdef"
OTHER = "mf-another-key"


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


def ring(mount: Mount) -> KeyRing:
    return KeyRing(str(mount.folder), now=lambda: 0.0)


def admitted(keys: KeyRing, key: str = KEY) -> str:
    """Name of the entry that lets the key in, or the code of its refusal."""
    try:
        return keys.admit([(b"authorization", b"Bearer " + key.encode())]).name
    except Refused as err:
        return err.refusal.code or ""


def test_missing_secret_lets_nobody_in(tmp_path: Path):
    assert admitted(KeyRing(str(tmp_path / "none"), now=lambda: 0.0)) == "api_keys_unavailable"


def test_keys_come_and_go_with_their_secret(mount: Mount):
    keys = ring(mount)
    seen = [admitted(keys)]
    mount.write(team={"sha256": digest(KEY)})
    changed = [keys.refresh(), keys.refresh()]
    seen.append(admitted(keys))
    mount.write(team={"sha256": digest(OTHER)})
    keys.refresh()
    seen += [admitted(keys), admitted(keys, OTHER)]
    mount.write()
    keys.refresh()
    seen.append(admitted(keys, OTHER))

    assert changed == [True, False]
    assert seen == ["api_keys_unavailable", "team", "invalid_api_key", "team", "api_keys_unavailable"]


def test_broken_entry_locks_out_its_own_key_alone(mount: Mount, caplog: pytest.LogCaptureFixture):
    mount.write(good={"sha256": digest(KEY)}, bad={"sha256": digest(OTHER), "model": ["chat"]})
    with caplog.at_level(logging.DEBUG):
        keys = ring(mount)

    assert (admitted(keys), admitted(keys, OTHER)) == ("good", "invalid_api_key")
    assert keys.counts() == {"usable": 1, "broken": 1}
    assert "bad" in str(vars(caplog.records[-1])["broken"])
    assert digest(OTHER) not in "".join(str(vars(record)) for record in caplog.records)


def test_two_entries_for_one_key_let_nobody_in(mount: Mount):
    mount.write(wide={"sha256": digest(KEY)}, narrow={"sha256": digest(KEY), "models": []})

    assert ring(mount).broken == ("narrow", "wide")


def test_endless_key_is_not_looked_up(mount: Mount):
    mount.write(team={"sha256": digest(KEY)})

    assert admitted(ring(mount), KEY + "x" * 600) == "invalid_api_key"


def test_change_of_another_entry_does_not_refill_a_rate(mount: Mount):
    limited = {"sha256": digest(KEY), "requestsPerMinute": 1}
    mount.write(team=limited)
    keys = ring(mount)
    team = keys.admit([(b"authorization", b"Bearer " + KEY.encode())])
    keys.take(team, routers=1)
    mount.write(team=limited, other={"sha256": digest(OTHER)})
    keys.refresh()

    with pytest.raises(Refused, match="rate") as raised:
        keys.take(team, routers=1)
    assert raised.value.refusal.retry_after_s == 60


@asynccontextmanager
async def guarded(mount: Mount) -> AsyncIterator[tuple[Rig, list[Engine]]]:
    """Two tiers behind one router that asks for keys."""
    async with engines([reply(GOOD)], [reply(GOOD)]) as found:
        route = cascade(tier("small", weight=1000), tier("big"))
        ports = {"small-svc": [found[0].port], "big-svc": [found[1].port]}
        async with router(route, ports, keys=ring(mount)) as rig:
            yield rig, found


def with_key(key: str | None = KEY, **more: Any) -> bytes:
    fields = f"authorization: Bearer {key}\r\n" if key else ""
    return post(fields=f"connection: close\r\n{fields}", **more)


ASKED: dict[str, tuple[dict[str, Any], bytes, int, str | None]] = {
    "a key that may everything": ({}, with_key(), 200, None),
    "a key for this model": ({"models": ["chat"]}, with_key(), 200, None),
    "no key": ({}, with_key(None), 401, "missing_api_key"),
    "a key that nobody knows": ({}, with_key(OTHER), 401, "invalid_api_key"),
    "a key for another model": ({"models": ["code"]}, with_key(), 403, "model_not_allowed"),
    "a key for a model that is none": ({"models": ["chat"]}, with_key(model="x"), 403, "model_not_allowed"),
    "no such model": ({}, with_key(model="x"), 404, "model_not_found"),
    "a key for a tier that is none": ({"tiers": ["huge"]}, with_key(), 403, "tier_not_allowed"),
    "a stranger's body is not looked at": ({}, with_key(OTHER, messages=1), 401, "invalid_api_key"),
}


@pytest.mark.parametrize(("entry", "request_bytes", "status", "code"), ASKED.values(), ids=ASKED)
async def test_who_may_come_in(
    mount: Mount, entry: dict[str, Any], request_bytes: bytes, status: int, code: str | None
):
    mount.write(team={"sha256": digest(KEY), **entry})
    async with guarded(mount) as (rig, found):
        answer = await rig.ask(request_bytes)

        assert answer.status == status
        assert (answer.error["code"] if status != 200 else None) == code
        assert ("www-authenticate" in answer.headers) == (status == 401)
        asked = [peer for engine in found for peer in engine.asked]
        assert len(asked) == (1 if status == 200 else 0)
        assert all(b"uthorization" not in peer.head and KEY.encode() not in peer.head for peer in asked)


async def test_key_reaches_its_own_tiers_alone(mount: Mount):
    mount.write(team={"sha256": digest(KEY), "tiers": ["big"]})
    async with guarded(mount) as (rig, (small, big)):
        big.acts = [reply({}, status=500)]
        answer = await rig.ask(with_key())

        assert answer.status == 503
        assert (len(small.asked), len(big.asked)) == (0, 1)


async def test_rate_is_held_and_said(mount: Mount):
    mount.write(team={"sha256": digest(KEY), "requestsPerMinute": 1})
    async with guarded(mount) as (rig, _):
        answers = [await rig.ask(with_key()) for _ in range(2)]

        assert [answer.status for answer in answers] == [200, 429]
        assert answers[1].headers["retry-after"] == "60"
        assert answers[1].error["code"] == "rate_limit_exceeded"


async def test_models_are_those_of_the_key(mount: Mount):
    mount.write(all={"sha256": digest(KEY)}, none={"sha256": digest(OTHER), "models": ["code"]})
    async with guarded(mount) as (rig, _):

        async def listed(key: str) -> list[str]:
            get = f"GET /v1/models HTTP/1.1\r\nhost: r\r\nauthorization: Bearer {key}\r\n\r\n"
            return [each["id"] for each in orjson.loads((await rig.ask(get.encode())).body)["data"]]

        assert (await listed(KEY), await listed(OTHER)) == (["chat"], [])
        assert (await rig.ask(b"GET /v1/models HTTP/1.1\r\nhost: r\r\n\r\n")).status == 401
        assert (await rig.ask(b"GET /healthz HTTP/1.1\r\nhost: r\r\n\r\n")).status == 200


async def test_revoked_key_is_out_at_once(mount: Mount):
    mount.write(team={"sha256": digest(KEY)}, other={"sha256": digest(OTHER)})
    async with guarded(mount) as (rig, _):
        before = await rig.ask(with_key())
        mount.write(other={"sha256": digest(OTHER)})
        assert rig.state.keys is not None
        rig.state.keys.refresh()
        after = await rig.ask(with_key())

        assert (before.status, after.status) == (200, 401)


async def test_entries_are_counted(mount: Mount):
    mount.write(team={"sha256": digest(KEY)}, bad=b"{}")
    async with guarded(mount) as (rig, _):
        registry = rig.state.metrics.registry()

        assert registry.get_sample_value("modelfleet_router_api_keys", {"state": "usable"}) == 1
        assert registry.get_sample_value("modelfleet_router_api_keys", {"state": "broken"}) == 1
