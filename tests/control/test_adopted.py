"""Somebody else's workload is looked at, scaled where that is ours to do, and left alone in everything else."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.key import Key
from modelfleet.control.adopted import LOOK_S, recall
from modelfleet.control.capacity.observe import Pods, epoch_s, wanted_replicas
from modelfleet.control.tier import reconcile_tier
from modelfleet.diff.adopted import Found
from modelfleet.diff.reverts import REVERTS_MAX, WINDOW_S
from modelfleet.errors import ClusterError, Conflict
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import SMALL, Fleet
from tests.diff.adopted_found import CALM, READY, SCALING, hpa
from tests.fakes import World
from tests.make import EXISTING, NAMESPACE, existing_object, existing_tier, merged, tier_object

KEY = Key("ModelTier", NAMESPACE, "small")
DECIDED: dict[str, Any] = {"scaling": SCALING, "status": {"desiredReplicas": 3}}
BUSY = replace(CALM, pods=[READY, {**READY, "metadata": {"name": "qwen-4"}}])


def world(found: Found = BUSY, **changes: Any) -> World:
    made = World()
    made.workloads.found = found
    made.add(existing_object(**changes))
    return made


async def reconciled(world: World) -> list[tuple[str, str]]:
    """Reconcile once and deliver what came of it; the writes to our own objects as (verb, kind)."""
    world.cluster.writes.clear()
    assert await reconcile_tier(KEY, world.ctx) == LOOK_S
    world.deliver()
    return [(verb, key.kind) for verb, key in world.cluster.writes]


def status(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.stored("ModelTier", "small")["status"]
    return found


async def test_it_is_routed_to_and_nothing_of_ours_is_made():
    fleet = world()

    assert await reconciled(fleet) == [("status", "ModelTier")]
    assert await reconciled(fleet) == []
    assert fleet.workloads.asked == []
    assert status(fleet)["existing"] == {"portName": "http", "replicas": 2}
    assert (status(fleet)["ready"], status(fleet)["endpoint"]) == ("2/2", "http://qwen.models.svc:8000/v1")


async def test_a_decision_is_written_once():
    fleet = world(**DECIDED)

    await reconciled(fleet)
    await reconciled(fleet)

    assert fleet.workloads.asked == [3]
    assert status(fleet)["existing"]["replicas"] == 3
    assert fleet.conditions("ModelTier", "small")["Ready"] == "False/ReplicasStarting"


async def test_who_changes_it_by_hand_meets_the_decision():
    fleet = world(**DECIDED)
    await reconciled(fleet)

    fleet.workloads.found = BUSY
    await reconciled(fleet)

    assert fleet.workloads.asked == [3, 3]


LEFT: dict[str, tuple[dict[str, Any], Found]] = {
    "nothing decided": ({"scaling": SCALING}, BUSY),
    "an HPA scales it": (DECIDED, replace(BUSY, autoscalers=[hpa()])),
    "paused": (DECIDED | {"annotations": {names.ANNOTATION_PAUSED: "true"}}, BUSY),
    "suspended": (DECIDED | {"suspend": True}, BUSY),
    "mode Observe": (DECIDED | {"scaling": {**SCALING, "mode": "Observe"}}, BUSY),
    "requests do not get there": (DECIDED, replace(BUSY, service=None)),
    "it cannot be scaled": (DECIDED, replace(BUSY, scale=None, no_scale="NotFound")),
}


@pytest.mark.parametrize(("changes", "found"), LEFT.values(), ids=LEFT)
async def test_its_replicas_are_left_alone(changes: dict[str, Any], found: Found):
    fleet = world(found, **changes)

    await reconciled(fleet)

    assert fleet.workloads.asked == []


async def test_an_older_tier_goes_first():
    fleet = world(**DECIDED)
    fleet.add(existing_object("a-first", scaling=SCALING))

    await reconciled(fleet)

    assert fleet.workloads.asked == []
    assert status(fleet)["existing"]["unscalable"]["reason"] == "ScaledByModelTier"


async def test_the_operators_own_deployment_is_no_target():
    fleet = world(**DECIDED)
    ours = {"kind": "Deployment", "metadata": {"name": "qwen", "namespace": NAMESPACE}}
    fleet.add(ours)

    await reconciled(fleet)

    assert fleet.workloads.asked == []
    assert fleet.conditions("ModelTier", "small")["Stalled"] == "True/TargetIsOurs"


async def test_a_missing_right_is_told():
    fleet = world(**DECIDED)
    fleet.workloads.refuse = ClusterError("PUT /x: no", status=403, reason="Forbidden")

    await reconciled(fleet)

    conditions = {each["type"]: each for each in status(fleet)["conditions"]}
    assert "may not update the scale of Deployment in apps/v1" in conditions["Stalled"]["message"]
    assert status(fleet)["existing"]["unscalable"]["reason"] == "Forbidden"


async def test_who_wrote_first_goes_first():
    fleet = world(**DECIDED)
    fleet.workloads.refuse = Conflict("changed", status=409)

    with pytest.raises(Conflict):
        await reconciled(fleet)

    assert "conditions" not in status(fleet)


async def test_a_refusal_is_told_and_tried_again():
    fleet = world(**DECIDED)
    fleet.workloads.refuse = ClusterError("PUT /x: no such number", status=422, reason="Invalid")

    with pytest.raises(ClusterError):
        await reconciled(fleet)

    assert fleet.conditions("ModelTier", "small")["Stalled"] == "True/Invalid"


async def test_its_pods_are_seen_as_the_tiers_until_it_goes():
    fleet = world()
    labels = {names.LABEL_TIER: names.tier_child("small")}
    await reconciled(fleet)
    assert len(fleet.ctx.view.list("Pod", namespace=NAMESPACE, labels=labels)) == 2

    tier = fleet.stored("ModelTier", "small")
    fleet.ctx.view.forget(KEY)
    assert await reconcile_tier(KEY, fleet.ctx) is None

    assert fleet.ctx.view.list("Pod", namespace=NAMESPACE, labels=labels) == []
    assert tier["status"]["readyReplicas"] == 2


async def test_pods_that_it_had_of_its_own_go():
    fleet = World()
    fleet.add(tier_object())
    await reconcile_tier(KEY, fleet.ctx)
    fleet.deliver()
    fleet.workloads.found = BUSY
    fleet.add({**fleet.stored("ModelTier", "small"), "spec": existing_object()["spec"]})

    deleted = [kind for verb, kind in await reconciled(fleet) if verb == "delete"]

    assert deleted == ["Deployment", "Service", "ServiceAccount"]


async def test_two_who_do_not_give_in_do_not_fight_for_ever():
    fleet = world(**DECIDED)
    for _ in range(10):
        fleet.workloads.found = BUSY  # somebody sets it back
        fleet.clock.time_s += LOOK_S
        await reconciled(fleet)

    assert fleet.workloads.asked == [3] * REVERTS_MAX
    assert status(fleet)["existing"]["unscalable"]["reason"] == "SetBack"

    fleet.clock.time_s += WINDOW_S
    await reconciled(fleet)

    assert fleet.workloads.asked == [3] * (REVERTS_MAX + 1)


async def test_changes_while_it_is_suspended_are_its_owners():
    fleet = world(**DECIDED)
    await reconciled(fleet)
    tier = fleet.stored("ModelTier", "small")
    fleet.add(merged(tier, {"spec": {"suspend": True}}))
    for _ in range(REVERTS_MAX):
        fleet.workloads.found = BUSY
        await reconciled(fleet)
        fleet.workloads.found = replace(BUSY, scale=merged(BUSY.scale or {}, {"spec": {"replicas": 5}}))
        await reconciled(fleet)
    fleet.add(merged(fleet.stored("ModelTier", "small"), {"spec": {"suspend": False}}))

    await reconciled(fleet)

    assert fleet.workloads.asked == [3, 3]


async def test_a_pool_that_is_not_in_the_settings_is_told():
    fleet = world(**DECIDED, nodePool={"name": "gpu-x", "count": 1})

    await reconciled(fleet)

    assert fleet.workloads.asked == []
    assert fleet.conditions("ModelTier", "small")["ResolvedRefs"] == "False/NodePoolNotFound"


def test_a_new_leader_takes_no_workload_for_dead():
    said = {"type": "WorkloadAvailable", "status": "True", "reason": "ReplicaReady"}
    fleet = world(
        status={
            "readyReplicas": 2,
            "conditions": [{**said, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }
    )

    recall(fleet.ctx)

    ready = Pods(fleet.ctx.view).of_tier(Name(NAMESPACE, "small"))
    assert list(ready) == [epoch_s("2026-01-01T00:00:00Z")] * 2


def adopted(status: dict[str, Any] | None, **scaling: Any) -> Fleet:
    """Tier small is over somebody else's workload, and this is what the structure loop has said of it."""
    fleet = Fleet()
    changes = {"llamaCpp": None, "model": {"uri": None, "servedName": "m"}, "existing": EXISTING}
    stored = copy.deepcopy(fleet.store.objects[SMALL])
    stored["spec"] = merged(stored["spec"], {**changes, "scaling": scaling})
    stored["status"] = {} if status is None else {"existing": status}
    fleet.store.put(stored)
    return fleet


FOUND = {"portName": "http", "replicas": 3}


async def test_the_first_decision_is_what_runs():
    fleet = adopted(FOUND)
    fleet.in_flight(12.0)

    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 3


async def test_the_load_decides_from_there():
    fleet = adopted(FOUND)
    fleet.in_flight(19.0)

    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 5
    assert (fleet.status(SMALL)["lastScale"]["from"], fleet.status(SMALL)["lastScale"]["to"]) == (3, 5)


NOTHING_DECIDED: dict[str, tuple[dict[str, Any] | None, str]] = {
    "nobody has looked yet": (None, "NotLookedAt"),
    "an HPA scales it": (
        {"portName": "http", "unscalable": {"reason": "ScaledByHPA", "message": "HPA x scales it"}},
        "ScaledByHPA",
    ),
}


@pytest.mark.parametrize(("said", "want"), NOTHING_DECIDED.values(), ids=NOTHING_DECIDED)
async def test_nothing_is_decided_about_what_cannot_be_scaled(said: dict[str, Any] | None, want: str):
    fleet = adopted(said)
    fleet.in_flight(19.0)

    await fleet.tick()

    assert "desiredReplicas" not in fleet.status(SMALL)
    assert fleet.condition(SMALL) == ("False", want)


async def test_mode_observe_follows_whoever_decides_and_says_what_it_would_do():
    fleet = adopted(FOUND, mode="Observe")
    fleet.in_flight(19.0)
    await fleet.tick()
    stored = copy.deepcopy(fleet.store.objects[SMALL])
    stored["status"]["existing"]["replicas"] = 4
    fleet.store.put(stored)

    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 4
    assert fleet.condition(SMALL) == ("False", "Observing")


RUNNING: dict[str, tuple[dict[str, Any], int]] = {
    "what its target is asked for": ({"existing": FOUND, "replicas": 2}, 3),
    "nobody may scale it: what is there": ({"existing": {"portName": "http"}, "replicas": 2}, 2),
    "nobody has looked yet": ({}, 0),
    "decided: the decision": ({"existing": FOUND, "desiredReplicas": 4}, 4),
}


@pytest.mark.parametrize(("said", "want"), RUNNING.values(), ids=RUNNING)
def test_what_the_planner_takes_for_its_size(said: dict[str, Any], want: int):
    assert wanted_replicas(existing_tier(scaling=SCALING, status=said), None) == want
