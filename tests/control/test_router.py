import json
from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.key import Key
from modelfleet.api.route_table_reader import decode
from modelfleet.control.router import REPORTS_S, ROUTER, reconcile_router
from modelfleet.errors import ClusterError
from tests.fakes import World
from tests.make import NAMESPACE, cascade_object, deployment_object, external_tier, pod_object, tier_object

SHARED = Key(ROUTER, NAMESPACE, names.SHARED_ROUTER)
TABLE = names.route_table(names.SHARED_ROUTER)
READY_TIER = tier_object(status={"readyReplicas": 1})
FRONTIER = {
    **tier_object("frontier"),
    "spec": json.loads(external_tier().spec.model_dump_json(by_alias=True, exclude_none=True)),
}


async def reconciled(world: World, key: Key = SHARED) -> list[tuple[str, str]]:
    """Reconcile once and deliver what came of it; the writes as (verb, kind)."""
    world.cluster.writes.clear()
    await reconcile_router(key, world.ctx)
    world.deliver()
    return [(verb, written.kind) for verb, written in world.cluster.writes]


def table(world: World) -> dict[str, Any]:
    """The stored route table: model name -> deadline in seconds."""
    stored = json.loads(world.stored("ConfigMap", TABLE)["data"][names.ROUTE_TABLE_KEY])
    return {each["model_name"]: each["deadline_s"] for each in stored["cascades"]}


def change(world: World, kind: str, name: str, spec: dict[str, Any]) -> None:
    item = world.stored(kind, name)
    world.add({**item, "spec": {**item["spec"], **spec}})


@pytest.fixture
def world() -> World:
    made = World()
    made.add(READY_TIER, FRONTIER, cascade_object())
    return made


async def test_the_first_pass_makes_the_router_and_its_table(world: World):
    writes = await reconciled(world)

    assert {kind for verb, kind in writes if verb == "apply"} == {
        "ConfigMap",
        "Deployment",
        "PodDisruptionBudget",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    }
    assert table(world) == {"chat": 120.0}
    assert world.conditions("Cascade", "chat")["Programmed"] == "False/RouterStarting"


async def test_the_second_pass_writes_nothing(world: World):
    await reconciled(world)

    assert await reconciled(world) == []


async def test_a_ready_router_makes_the_cascade_ready(world: World):
    await reconciled(world)
    router = world.stored("Deployment", names.SHARED_ROUTER)
    world.add({**router, "status": deployment_object(replicas=2, ready=2)["status"]})

    await reconciled(world)

    assert world.conditions("Cascade", "chat")["Ready"] == "True/Serving"


async def test_two_cascades_share_a_router_and_leave_one_by_one(world: World):
    world.add(cascade_object("code", modelName="code"))
    await reconciled(world)
    owners = world.stored("Deployment", names.SHARED_ROUTER)["metadata"]["ownerReferences"]
    assert {owner["name"] for owner in owners} == {"chat", "code"}
    assert set(table(world)) == {"chat", "code"}

    del world.cluster.objects[Key("Cascade", NAMESPACE, "chat")]
    world.deliver()
    await reconciled(world)
    assert set(table(world)) == {"code"}

    del world.cluster.objects[Key("Cascade", NAMESPACE, "code")]
    world.deliver()
    await reconciled(world)
    assert world.stored("Deployment", names.SHARED_ROUTER) is None
    assert world.stored("ConfigMap", TABLE) is None


async def test_a_cascade_that_moves_to_a_router_of_its_own_leaves_the_shared_one(world: World):
    await reconciled(world)
    change(world, "Cascade", "chat", {"router": {"dedicated": {"replicas": 1}}})

    await reconciled(world)
    await reconciled(world, Key(ROUTER, NAMESPACE, "chat-cascade-router"))

    assert world.stored("Deployment", names.SHARED_ROUTER) is None
    assert world.stored("Deployment", "chat-cascade-router")["spec"]["replicas"] == 1
    assert world.stored("ConfigMap", names.route_table("chat-cascade-router"))


async def test_the_younger_of_two_with_one_name_is_told(world: World):
    world.add(cascade_object("again", created="2026-06-01T00:00:00Z"))

    await reconciled(world)

    assert world.conditions("Cascade", "again")["Accepted"] == "False/ModelNameConflict"
    assert world.conditions("Cascade", "chat")["Accepted"] == "True/Accepted"


async def test_a_missing_tier_leaves_the_others_at_work(world: World):
    del world.cluster.objects[Key("ModelTier", NAMESPACE, "small")]
    world.deliver()

    await reconciled(world)

    assert world.conditions("Cascade", "chat")["ResolvedRefs"] == "False/ModelTierNotFound"
    stored = json.loads(world.stored("ConfigMap", TABLE)["data"][names.ROUTE_TABLE_KEY])
    assert [(tier["name"], tier["weight_permille"]) for tier in stored["cascades"][0]["tiers"]] == [
        ("frontier", 1000)
    ]


async def test_a_paused_cascade_keeps_its_part_of_the_table(world: World):
    world.add(cascade_object("code", modelName="code"))
    await reconciled(world)
    world.stored("Cascade", "chat")["metadata"]["annotations"] = {"modelfleet.dev/paused": "true"}
    for name in ("chat", "code"):
        change(world, "Cascade", name, {"limits": {"deadline": "5s"}})

    await reconciled(world)

    assert table(world) == {"chat": 120.0, "code": 5.0}


async def test_a_rule_that_is_taken_back_is_programmed_when_the_table_has_lost_it(world: World):
    change(world, "Cascade", "chat", {"dataPolicy": {"localOnly": ["private"]}})
    await reconciled(world)
    world.stored("Cascade", "chat")["metadata"]["annotations"] = {"modelfleet.dev/paused": "true"}
    change(world, "Cascade", "chat", {"dataPolicy": None})

    await reconciled(world)

    assert world.conditions("Cascade", "chat")["Programmed"].startswith("False/")


async def test_when_all_are_paused_no_child_is_written(world: World):
    world.add(cascade_object(annotations={"modelfleet.dev/paused": "true"}))

    assert await reconciled(world) == [("status", "Cascade")]


async def test_a_refused_write_is_told_and_tried_again(world: World):
    world.cluster.refuse["Deployment"] = ClusterError("PATCH /x: no", status=403, reason="Forbidden")

    with pytest.raises(ClusterError):
        await reconciled(world)

    assert world.conditions("Cascade", "chat")["Stalled"] == "True/Forbidden"


async def test_a_missing_api_key_is_a_condition(world: World):
    await reconciled(world)
    pod = pod_object(conditions=[{"type": "Ready", "status": "True"}], podIP="10.0.0.1")
    pod["metadata"]["labels"] = {names.LABEL_ROUTER: names.SHARED_ROUTER}
    world.add(pod)
    world.reports.missing = frozenset({"frontier", "of another namespace"})

    assert await reconcile_router(SHARED, world.ctx) == REPORTS_S
    assert world.conditions("Cascade", "chat")["ResolvedRefs"] == "False/ExternalKeyMissing"

    world.deliver()
    world.reports.missing = None
    assert await reconciled(world) == [], "silence changes nothing"

    world.reports.missing = frozenset()
    await reconciled(world)
    assert world.conditions("Cascade", "chat")["ResolvedRefs"] == "True/Resolved"


def router_pod(number: int, *, ready: bool) -> dict[str, Any]:
    pod = pod_object(conditions=[{"type": "Ready", "status": str(ready)}], podIP=f"10.0.0.{number}")
    pod["metadata"] |= {"name": f"router-{number}", "labels": {names.LABEL_ROUTER: names.SHARED_ROUTER}}
    return pod


def routers(world: World) -> int:
    """By how many routers the stored table divides what holds for the whole."""
    stored = json.loads(world.stored("ConfigMap", TABLE)["data"][names.ROUTE_TABLE_KEY])
    return decode(stored).rules.routers


async def test_the_table_follows_the_number_of_ready_routers(world: World):
    await reconciled(world)
    assert routers(world) == 2, "none is ready: as many as are wanted"

    for up, want in (([1], 1), ([1, 2], 2), ([1, 2, 3], 3), ([1, 3], 2), ([], 2)):
        world.add(*(router_pod(number, ready=number in up) for number in (1, 2, 3)))
        await reconciled(world)
        assert routers(world) == want

    assert await reconciled(world) == [], "written only when it changes"


async def test_a_router_that_changes_and_counts_the_same_writes_nothing(world: World):
    world.add(router_pod(1, ready=True), router_pod(2, ready=False))
    await reconciled(world)

    world.add(router_pod(1, ready=False), router_pod(2, ready=True))

    assert await reconciled(world) == []


async def test_keys_that_nobody_can_use_are_a_condition(world: World):
    keys = {"router": {"apiKeys": {"secretRef": {"name": "modelfleet-keys"}}}}
    world.ctx.settings.now = FleetSettings.model_validate(keys)
    world.reports.usable = 0

    assert await reconcile_router(SHARED, world.ctx) == REPORTS_S
    assert world.conditions("Cascade", "chat")["Authenticated"] == "True/NoUsableKeys"

    world.reports.usable = 2
    await reconciled(world)
    assert world.conditions("Cascade", "chat")["Authenticated"] == "True/ApiKeys"

    world.ctx.settings.now = FleetSettings()
    await reconciled(world)
    assert world.conditions("Cascade", "chat")["Authenticated"] == "False/NoApiKeys"
