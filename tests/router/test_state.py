"""Tables, endpoints and keys come and go; what requests read stays whole."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import generate_latest

from modelfleet import names
from modelfleet.api.route_table import ExternalTarget, RouteTable, encode
from modelfleet.router.metrics import RouterMetrics
from modelfleet.router.secrets import Secrets
from modelfleet.router.state import State
from tests.router.rig import ROUTER, Peer, cascade, config_map, engines, post, reply, router, slices, tier

TABLE = RouteTable((cascade(tier("small", weight=1000)),))


async def _state() -> State:
    return State(
        metrics=RouterMetrics("ns"), secrets=Secrets(), loop=asyncio.get_running_loop(), router=ROUTER
    )


def _broken(**change: Any) -> dict[str, Any]:
    raw = {**orjson.loads(orjson.dumps(encode(TABLE))), **change}
    found = config_map(TABLE, version="2")
    found[names.route_table(ROUTER)]["data"] = {names.ROUTE_TABLE_KEY: orjson.dumps(raw).decode()}
    return found


def _with_data(data: dict[str, str] | None) -> dict[str, Any]:
    return {names.route_table(ROUTER): {"metadata": {"resourceVersion": "2"}, "data": data}}


_CASCADE = orjson.loads(orjson.dumps(encode(TABLE)))["cascades"][0]
_TIER = _CASCADE["tiers"][0]

BROKEN = {
    "gone": {},
    "empty": _with_data({}),
    "without data": _with_data(None),
    "half written": _with_data({names.ROUTE_TABLE_KEY: '{"formatVersion": 1, "casc'}),
    "no object": _with_data({names.ROUTE_TABLE_KEY: "[]"}),
    "of a later format": _broken(formatVersion=2),
    "without cascades": _broken(cascades=None),
    "weights that are not 1000": _broken(cascades=[{**_CASCADE, "tiers": [{**_TIER, "weight_permille": 7}]}]),
    "a word as timeout": _broken(cascades=[{**_CASCADE, "tiers": [{**_TIER, "timeout_s": "5"}]}]),
    "no time at all": _broken(cascades=[{**_CASCADE, "deadline_s": 0}]),
    "an unknown field": _broken(cascades=[{**_CASCADE, "surprise": 1}]),
    "one model twice": _broken(cascades=[_CASCADE, _CASCADE]),
    "a header in a service's name": _broken(
        cascades=[{**_CASCADE, "tiers": [{**_TIER, "service": "a\r\nx: y"}]}]
    ),
}


@pytest.mark.parametrize("found", BROKEN.values(), ids=BROKEN)
async def test_broken_table_leaves_the_last_good_one(found: dict[str, Any]):
    state = await _state()
    state.config_maps_changed(config_map(TABLE), now_s=1.0)
    good = state.fleet
    state.config_maps_changed(found, now_s=2.0)

    assert state.fleet is good
    assert state.metrics.table_version == "1"
    assert state.metrics.table_errors == (1 if found else 0)


async def test_a_newer_table_is_used_without_its_optional_parts(caplog: pytest.LogCaptureFixture):
    state = await _state()
    later = _broken(cascades=[{**_CASCADE, "extra": 1}], optional=["cascades.extra"])
    for version in ("2", "3"):
        later[names.route_table(ROUTER)]["metadata"]["resourceVersion"] = version
        state.config_maps_changed(later, now_s=1.0)

    assert (state.metrics.table_version, state.metrics.table_errors) == ("3", 0)
    assert list(state.fleet.lines) == ["chat"]
    assert b"modelfleet_router_table_parts_ignored 1.0" in generate_latest(state.metrics.registry())
    assert [record.message for record in caplog.records if "ignores" in record.message] == [
        "route table is newer than this router, which ignores parts"
    ]

    state.config_maps_changed(config_map(TABLE, version="4"), now_s=2.0)
    assert b"modelfleet_router_table_parts_ignored 0.0" in generate_latest(state.metrics.registry())


async def test_replicas_and_numbers_outlive_a_swap():
    state = await _state()
    state.config_maps_changed(config_map(TABLE), now_s=1.0)
    state.endpoint_slices_changed(slices({"small-svc": [1001, 1002]}))
    before = state.fleet.lines["chat"].steps[0]
    kept = before.pool.replicas[1]
    state.endpoint_slices_changed(slices({"small-svc": [1002, 1003]}))
    after = state.fleet.lines["chat"].steps[0]

    assert after.stats is before.stats
    assert kept is after.pool.replicas[0]
    assert [replica.port for replica in after.pool.replicas] == [1002, 1003]


async def test_readiness_waits_for_table_and_endpoints():
    state = await _state()
    state.listening = True
    reasons = [state.unready_reason()]
    state.config_maps_changed(config_map(TABLE), now_s=1.0)
    reasons.append(state.unready_reason())
    state.endpoint_slices_changed({})
    reasons.append(state.unready_reason())

    assert reasons == ["no route table yet", "no endpoints listed yet", None]


async def test_missing_key_turns_off_its_tier_alone(tmp_path: Path):
    key = tmp_path / "api-key"
    external = tier("frontier", external=ExternalTarget("http://127.0.0.1:1/v1", str(key), None))
    secrets = Secrets()
    state = State(
        metrics=RouterMetrics("ns"), secrets=secrets, loop=asyncio.get_running_loop(), router=ROUTER
    )
    table = RouteTable((cascade(tier("small", weight=1000), external),))
    state.config_maps_changed(config_map(table), now_s=1.0)
    state.endpoint_slices_changed(slices({"small-svc": [1001]}))
    seen = [_shape(state)]
    for text in ("sk-1", "sk-2\n", "not a key", "sk-3"):
        key.write_text(text)
        assert secrets.refresh()
        state.secrets_changed()
        seen.append(_shape(state))
    assert not secrets.refresh()

    assert seen == [
        ([1, 0], [True], False),
        ([1, 1], [False], True),
        ([1, 1], [False], True),
        ([1, 0], [True], False),
        ([1, 1], [False], True),
    ]


def _shape(state: State) -> tuple[list[int], list[bool], bool]:
    steps = state.fleet.lines["chat"].steps
    return (
        [len(step.pool.replicas) for step in steps],
        list(state.metrics.keys_missing.values()),
        b"sk-" in steps[1].head,
    )


async def test_key_does_not_follow_its_tier_to_another_address(tmp_path: Path):
    key = tmp_path / "api-key"
    key.write_text("sk-of-the-first")
    asked, moved = asyncio.Event(), asyncio.Event()

    async def failing(peer: Peer) -> None:
        asked.set()
        await moved.wait()
        await reply({}, status=500)(peer)

    def table(port: int) -> RouteTable:
        target = ExternalTarget(f"http://127.0.0.1:{port}/v1", str(key), None)
        return RouteTable((cascade(tier("small", weight=1000), tier("frontier", external=target)),))

    async with engines([failing], [reply({})], [reply({})]) as (small, first, second):
        found = table(first.port).cascades[0]
        async with router(found, {"small-svc": [small.port]}) as rig:
            answer = asyncio.create_task(rig.ask(post()))
            await asked.wait()
            rig.state.config_maps_changed(config_map(table(second.port), version="2"), now_s=2.0)
            moved.set()
            status = (await answer).status

            assert (status, len(first.asked), len(second.asked)) == (503, 0, 0)
            rig.state.secrets_changed()
            assert (await rig.ask(post())).status == 200  # small fails, and the new address is asked
            assert [b"sk-of-the-first" in peer.head for peer in second.asked] == [True]


@pytest.mark.parametrize("url", ["ftp://x", "https://x:99999/v1", "https://[:::::]/v1", "https:///v1"])
async def test_address_that_is_none_turns_off_its_tier_alone(url: str):
    # One user's ModelTier must not stop the table of a whole namespace.
    external = tier("frontier", external=ExternalTarget(url, None, None))
    state = await _state()
    state.endpoint_slices_changed(slices({"small-svc": [1001]}))
    state.config_maps_changed(
        config_map(RouteTable((cascade(tier("small", weight=1000), external),))), now_s=1.0
    )

    assert [len(step.pool.replicas) for step in state.fleet.lines["chat"].steps] == [1, 0]
    assert state.metrics.table_errors == 0


async def test_https_without_its_authority_is_never_tried(tmp_path: Path):
    missing = str(tmp_path / "ca.crt")
    external = tier("frontier", weight=1000, external=ExternalTarget("https://127.0.0.1:1/v1", None, missing))
    state = await _state()
    state.config_maps_changed(config_map(RouteTable((cascade(external),))), now_s=1.0)

    assert state.fleet.lines["chat"].steps[0].pool.replicas == ()


async def test_weights_take_effect_with_the_swap():
    state = await _state()
    two = cascade(tier("small", weight=1000), tier("big"))
    state.config_maps_changed(config_map(RouteTable((two,))), now_s=1.0)
    before = state.fleet
    moved = replace(two, tiers=(tier("small", weight=0), tier("big", weight=1000)))
    state.config_maps_changed(config_map(RouteTable((moved,)), version="2"), now_s=2.0)

    assert before.lines["chat"].bounds == (1000, 1000)
    assert state.fleet.lines["chat"].bounds == (0, 1000)


EXISTING = RouteTable((cascade(tier("small", weight=1000, service_port="api")),))


def _existing(*ports: int) -> dict[str, Any]:
    found = slices({"small-svc": list(ports)})
    for piece in found.values():
        piece["ports"] = [{"name": "metrics", "port": 9}, {"name": "api", "port": piece["ports"][0]["port"]}]
    return found


async def test_a_service_that_is_not_the_operators_is_watched_and_routed_to():
    state = await _state()
    assert not state.services_changed.is_set()

    state.config_maps_changed(config_map(EXISTING), now_s=1.0)
    state.existing_slices_changed(_existing(1001, 1002))

    assert state.services_changed.is_set()
    assert state.services == {"small-svc"}
    replicas = state.fleet.lines["chat"].steps[0].pool.replicas
    assert [replica.port for replica in replicas] == [1001, 1002]


async def test_a_service_that_nobody_names_any_more_is_left():
    state = await _state()
    state.config_maps_changed(config_map(EXISTING), now_s=1.0)
    state.existing_slices_changed(_existing(1001))
    state.services_changed.clear()

    state.config_maps_changed(config_map(TABLE, version="2"), now_s=2.0)

    assert state.services_changed.is_set()
    assert state.services == frozenset()
    assert len(state.fleet.lines["chat"].steps[0].pool.replicas) == 0


async def test_a_router_is_ready_once_it_knows_the_endpoints_of_its_first_table():
    state = await _state()
    state.listening = True
    state.config_maps_changed(config_map(EXISTING), now_s=1.0)
    state.endpoint_slices_changed({})
    assert state.unready_reason() == "no endpoints of existing Services listed yet"

    state.existing_slices_changed({})

    assert state.unready_reason() is None


async def test_a_service_of_a_later_table_takes_no_router_away():
    state = await _state()
    state.listening = True
    state.config_maps_changed(config_map(TABLE), now_s=1.0)
    state.endpoint_slices_changed({})
    assert state.unready_reason() is None

    state.config_maps_changed(config_map(EXISTING, version="2"), now_s=2.0)

    assert state.unready_reason() is None
