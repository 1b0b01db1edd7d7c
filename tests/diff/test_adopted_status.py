"""What a ModelTier says of somebody else's workload."""

from dataclasses import replace
from typing import Any

import pytest

from modelfleet.api.model_tier import ModelTier
from modelfleet.diff.adopted import Found, judge
from modelfleet.diff.adopted_status import Observed, status
from modelfleet.diff.pods import Cause
from tests.diff.adopted_found import CALM, READY, SCALING, TIER, hpa
from tests.make import existing_tier

NOW_S = 1_780_000_000.0
LOST = {
    "metadata": {"name": "qwen-2"},
    "status": {
        "containerStatuses": [
            {"name": "server", "state": {"waiting": {"reason": "ImagePullBackOff", "message": 'image "x:1"'}}}
        ]
    },
}
STARTING = {"metadata": {"name": "qwen-3"}, "status": {}}
SCALED = existing_tier(scaling=SCALING)
ROUTED_ONLY = existing_tier(existing={"scaleTargetRef": None})
SLEEPY = existing_tier(scaling={**SCALING, "minReplicas": 0, "idle": {}})
BOTH = replace(CALM, pods=[READY, {**READY, "metadata": {"name": "qwen-4"}}])


def observed(tier: ModelTier, found: Found, **changes: Any) -> Observed:
    judged = judge(tier, found)
    return Observed(judged=judged, endpoint="http://x/v1", wanted=judged.running, **changes)


def said(tier: ModelTier, seen: Observed) -> dict[str, str]:
    conditions = status(tier, seen, now_s=NOW_S)["conditions"]
    return {each["type"]: f"{each['status']}/{each['reason']}" for each in conditions}


ALL_WELL = {
    "Ready": "True/ReplicasReady",
    "ResolvedRefs": "True/Resolved",
    "WorkloadAvailable": "True/ReplicaReady",
}
ONE_MISSING = {**ALL_WELL, "Ready": "False/ReplicasStarting", "Reconciling": "True/ReplicasStarting"}
SUSPENDED = {
    "Ready": "False/Suspended",
    "ResolvedRefs": "True/Resolved",
    "WorkloadAvailable": "False/Suspended",
}


def without_service(reason: str) -> dict[str, str]:
    wrong = f"False/{reason}"
    return {"Ready": wrong, "ResolvedRefs": wrong, "WorkloadAvailable": wrong, "Stalled": f"True/{reason}"}


ROWS: dict[str, tuple[ModelTier, Found, dict[str, str]]] = {
    "all ready": (TIER, BOTH, ALL_WELL),
    "one of two is starting": (TIER, replace(CALM, pods=[READY, STARTING]), ONE_MISSING),
    "one of two cannot start": (
        TIER,
        replace(CALM, pods=[READY, LOST]),
        {**ALL_WELL, "Ready": "False/ImagePullBackOff", "Stalled": "True/ImagePullBackOff"},
    ),
    "an HPA in charge hurts nobody": (SCALED, replace(BOTH, autoscalers=[hpa()]), ALL_WELL),
    "no Service": (TIER, replace(CALM, service=None), without_service("ServiceNotFound")),
    "requests go on without the target": (
        SCALED,
        replace(BOTH, scale=None, no_scale="NotFound"),
        {
            "Ready": "False/TargetNotFound",
            "ResolvedRefs": "False/TargetNotFound",
            "Stalled": "True/TargetNotFound",
            "WorkloadAvailable": "True/ReplicaReady",
        },
    ),
    "routed only: what is there is what is wanted": (ROUTED_ONLY, replace(BOTH, scale=None), ALL_WELL),
    "routed only, and nobody is there": (
        ROUTED_ONLY,
        replace(CALM, scale=None),
        {
            "Ready": "False/NoReplicaReady",
            "Reconciling": "True/NoReplicaReady",
            "ResolvedRefs": "True/Resolved",
            "WorkloadAvailable": "False/NoReplicaReady",
        },
    ),
    "it sleeps": (
        SLEEPY,
        replace(CALM, scale={**(CALM.scale or {}), "spec": {"replicas": 0}}),
        {
            "Ready": "True/ScaledToZero",
            "ResolvedRefs": "True/Resolved",
            "WorkloadAvailable": "False/ScaledToZero",
        },
    ),
    "its owner has it at zero": (
        TIER,
        replace(CALM, scale={**(CALM.scale or {}), "spec": {"replicas": 0}}),
        {
            "Ready": "True/NoReplicasWanted",
            "ResolvedRefs": "True/Resolved",
            "WorkloadAvailable": "False/NoReplicaReady",
        },
    ),
    "suspended": (existing_tier(suspend=True), BOTH, SUSPENDED),
}  # fmt: skip


@pytest.mark.parametrize(("tier", "found", "want"), ROWS.values(), ids=ROWS)
def test_conditions(tier: ModelTier, found: Found, want: dict[str, str]):
    assert said(tier, observed(tier, found)) == want


EXISTING: dict[str, tuple[Found, dict[str, Any]]] = {
    "may be scaled": (BOTH, {"portName": "http", "replicas": 2}),
    "an HPA scales it": (
        replace(BOTH, autoscalers=[hpa()]),
        {"portName": "http", "unscalable": "ScaledByHPA"},
    ),
    "requests do not get there": (
        replace(BOTH, service={"metadata": {}, "spec": {"ports": [{"port": 1}]}}),
        {"unscalable": "ServicePortNotFound"},
    ),
    "nothing was found": (
        Found(no_scale="NotFound"),
        {"unscalable": "ServiceNotFound"},
    ),
}


@pytest.mark.parametrize(("found", "want"), EXISTING.values(), ids=EXISTING)
def test_what_the_capacity_loop_and_the_routers_read(found: Found, want: dict[str, Any]):
    existing = status(SCALED, observed(SCALED, found), now_s=NOW_S)["existing"]
    if "unscalable" in existing:
        existing["unscalable"] = existing["unscalable"]["reason"]

    assert existing == want


def test_a_workload_that_refuses_is_told():
    seen = observed(SCALED, BOTH, failure=Cause("QuotaExceeded", "exceeded quota", stuck=True))

    assert said(SCALED, seen)["Stalled"] == "True/QuotaExceeded"
    assert "replicas" not in status(SCALED, seen, now_s=NOW_S)["existing"]


def test_a_paused_tier_says_so():
    assert said(TIER, observed(TIER, BOTH, paused=True))["Paused"] == "True/PausedByAnnotation"


def test_a_pin_of_what_nobody_may_scale_is_refused():
    pinned = existing_tier(
        existing={"scaleTargetRef": None}, annotations={"modelfleet.dev/pin-replicas": "3"}
    )

    assert said(pinned, observed(pinned, BOTH))["Pinned"] == "False/InvalidPin"
