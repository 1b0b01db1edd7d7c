from typing import Any

import pytest

from modelfleet.api.key import Key
from modelfleet.control.status_writes import paused
from modelfleet.control.tier import reconcile_tier
from modelfleet.errors import ClusterError, Conflict, NotYet
from tests.fakes import World
from tests.make import NAMESPACE, tier_object

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KEY = Key("ModelTier", NAMESPACE, "small")
FROM_HUB = {"model": {"uri": "hf://o/r", "file": "x.gguf"}}


async def reconciled(world: World) -> list[tuple[str, str]]:
    """Reconcile once and deliver what came of it; the writes as (verb, kind)."""
    world.cluster.writes.clear()
    await reconcile_tier(KEY, world.ctx)
    world.deliver()
    return [(verb, key.kind) for verb, key in world.cluster.writes]


@pytest.fixture
def world() -> World:
    made = World()
    made.add(tier_object())
    return made


async def test_the_first_pass_writes_children_and_status(world: World):
    assert await reconciled(world) == [
        ("apply", "ServiceAccount"),
        ("apply", "Service"),
        ("apply", "Deployment"),
        ("status", "ModelTier"),
    ]


async def test_the_second_pass_writes_nothing(world: World):
    await reconciled(world)

    assert await reconciled(world) == []


async def test_a_deleted_child_comes_back(world: World):
    await reconciled(world)
    del world.cluster.objects[Key("Deployment", NAMESPACE, "small-tier")]
    world.deliver()

    assert await reconciled(world) == [("apply", "Deployment")]


async def test_a_deleted_tier_is_left_to_the_garbage_collector(world: World):
    await reconciled(world)
    tier = world.stored("ModelTier", "small")
    tier["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.add(tier)

    assert await reconciled(world) == []


async def test_a_paused_tier_keeps_its_children_as_they_are(world: World):
    world.add(tier_object(annotations={"modelfleet.dev/paused": "true"}))

    assert await reconciled(world) == [("status", "ModelTier")]
    assert world.conditions("ModelTier", "small")["Paused"] == "True/PausedByAnnotation"


def test_only_true_pauses():
    assert paused(tier_object(annotations={"modelfleet.dev/paused": "true"}))
    assert not paused(tier_object(annotations={"modelfleet.dev/paused": "false"}))


async def test_a_foreign_object_is_left_alone(world: World):
    foreign = {"kind": "Service", "metadata": {"name": "small-tier", "namespace": NAMESPACE}}
    before = world.cluster.put(foreign)

    await reconciled(world)

    assert world.stored("Service", "small-tier") == before
    assert world.conditions("ModelTier", "small")["Stalled"] == "True/NameConflict"
    assert world.stored("Deployment", "small-tier")


async def test_an_unknown_pool_stalls_and_heals(world: World):
    world.add(tier_object(nodePool={"name": "gpu-x", "count": 1}))
    await reconciled(world)
    assert world.conditions("ModelTier", "small")["Stalled"] == "True/NodePoolNotFound"

    world.add({**world.stored("ModelTier", "small"), "spec": tier_object()["spec"]})
    await reconciled(world)

    assert world.conditions("ModelTier", "small")["Reconciling"] == "True/ReplicasStarting"


REFUSALS = {
    "the namespace goes away": (
        ClusterError("PATCH /x: it is being terminated", status=403),
        "True/NamespaceTerminating",
    ),
    "the quota of objects is used up": (
        ClusterError("PATCH /x: exceeded quota: q, requested: services=1, used: services=1", status=403),
        "True/QuotaExceeded",
    ),
    "a policy refuses": (ClusterError("PATCH /x: no", status=403, reason="Forbidden"), "True/Forbidden"),
    "the API server is down": (ClusterError("PATCH /x: no answer"), None),
}


@pytest.mark.parametrize(("error", "want"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refused_write_is_told_and_tried_again(world: World, error: ClusterError, want: str | None):
    world.cluster.refuse["Deployment"] = error

    with pytest.raises(ClusterError):
        await reconciled(world)

    assert world.conditions("ModelTier", "small").get("Stalled") == want


async def test_a_conflict_says_nothing(world: World):
    world.cluster.refuse["Deployment"] = Conflict("changed", status=409)

    with pytest.raises(Conflict):
        await reconciled(world)

    assert "conditions" not in world.stored("ModelTier", "small")["status"]


HUB: dict[str, tuple[dict[str, Any], Any, str, int]] = {
    "a branch is pinned to its commit": (FROM_HUB, COMMIT, COMMIT, 1),
    "the hub refuses to say: as it is": (FROM_HUB, None, "main", 1),
    "the hub is silent: as it is": (FROM_HUB, NotYet("silent", retry_after_s=1), "main", 1),
    "a commit needs no hub": ({"model": {**FROM_HUB["model"], "revision": COMMIT}}, "other", COMMIT, 0),
}


@pytest.mark.parametrize(("spec", "says", "revision", "asked"), HUB.values(), ids=HUB)
async def test_revision(spec: dict[str, Any], says: Any, revision: str, asked: int):
    world = World()
    world.hub.says = says
    world.add(tier_object(**spec))

    await reconciled(world)
    assert await reconciled(world) == []

    assert world.stored("ModelTier", "small")["status"]["model"]["revision"] == revision
    assert world.hub.asked == asked


async def test_a_branch_that_moves_does_not_replace_pods():
    world = World()
    world.hub.says = COMMIT
    world.add(tier_object(**FROM_HUB))
    await reconciled(world)

    world.hub.says = COMMIT[::-1]
    del world.cluster.objects[Key("Deployment", NAMESPACE, "small-tier")]
    world.deliver()
    await reconciled(world)

    assert world.stored("ModelTier", "small")["status"]["model"]["revision"] == COMMIT


async def test_another_revision_is_resolved_anew():
    world = World()
    world.hub.says = COMMIT
    world.add(tier_object(**FROM_HUB))
    await reconciled(world)

    world.hub.says = COMMIT[::-1]
    changed = tier_object(model={**FROM_HUB["model"], "revision": "v2"})
    world.add({**world.stored("ModelTier", "small"), "spec": changed["spec"]})
    await reconciled(world)

    assert world.stored("ModelTier", "small")["status"]["model"] == {
        "source": "hf://o/r@v2",
        "revision": COMMIT[::-1],
    }
