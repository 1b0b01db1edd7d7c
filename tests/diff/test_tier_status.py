from dataclasses import replace
from typing import Any

import pytest

from modelfleet.api.model_tier import ModelTier
from modelfleet.diff.pods import Cause
from modelfleet.diff.tier_status import TYPES, Observed, status
from tests.make import cold_tier, deployment_object, external_tier, pod_object, tier

HEALTHY = Observed(
    endpoint="http://small-tier.models.svc/v1",
    selector="a=b",
    deployment=deployment_object(replicas=2, ready=2),
    wanted_replicas=2,
)
LOADING = replace(
    HEALTHY,
    deployment=deployment_object(replicas=2, ready=1),
    pods=[pod_object(containerStatuses=[{"name": "engine", "state": {"running": {}}, "ready": False}])],
)
ROLLING = deployment_object(replicas=2, ready=2)
ROLLING["status"] |= {"updatedReplicas": 1, "replicas": 3}
STUCK = replace(HEALTHY, failure=Cause("NameConflict", "Not ours, and left alone: Service x", stuck=True))
NO_POOL = replace(
    HEALTHY, deployment=None, failure=Cause("NodePoolNotFound", "No pool x", stuck=True, missing_ref=True)
)
NOTHING = replace(HEALTHY, deployment=None, wanted_replicas=0)

# Ready, and those of the others that are not plainly good.
CASES: dict[str, tuple[ModelTier, Observed, dict[str, str]]] = {
    "all replicas answer": (tier(), HEALTHY, {"Ready": "True/ReplicasReady"}),
    "one replica loads": (
        tier(),
        LOADING,
        {"Ready": "False/ModelLoading", "Reconciling": "True/ModelLoading"},
    ),
    "nothing is there yet": (
        tier(),
        replace(HEALTHY, deployment=None),
        {
            "Ready": "False/Creating",
            "Reconciling": "True/Creating",
            "WorkloadAvailable": "False/NoReplicaReady",
        },
    ),
    "pods are replaced": (
        tier(),
        replace(HEALTHY, deployment=ROLLING),
        {"Ready": "True/RollingOut", "Reconciling": "True/RollingOut"},
    ),
    "somebody else has the name": (
        tier(),
        STUCK,
        {"Ready": "False/NameConflict", "Stalled": "True/NameConflict"},
    ),
    "the pool is unknown": (
        tier(),
        NO_POOL,
        {
            "Ready": "False/NodePoolNotFound",
            "ResolvedRefs": "False/NodePoolNotFound",
            "Stalled": "True/NodePoolNotFound",
            "WorkloadAvailable": "False/NodePoolNotFound",
        },
    ),
    "it sleeps": (
        cold_tier(),
        replace(HEALTHY, deployment=deployment_object(replicas=0, ready=0), wanted_replicas=0),
        {"Ready": "True/ScaledToZero", "WorkloadAvailable": "False/ScaledToZero"},
    ),
    "it falls asleep, its last pod is on its way out": (
        cold_tier(),
        replace(HEALTHY, deployment=deployment_object(replicas=0, ready=1), wanted_replicas=0),
        {"Ready": "True/ScaledToZero", "WorkloadAvailable": "False/ScaledToZero"},
    ),
    "it wakes": (
        cold_tier(),
        replace(LOADING, deployment=deployment_object(replicas=1, ready=0), wanted_replicas=1),
        {
            "Ready": "False/ModelLoading",
            "Reconciling": "True/ModelLoading",
            "WorkloadAvailable": "False/ModelLoading",
        },
    ),
    "suspended": (
        tier(suspend=True),
        NOTHING,
        {"Ready": "False/Suspended", "WorkloadAvailable": "False/Suspended"},
    ),
    "paused while it loads": (
        tier(),
        replace(LOADING, paused=True),
        {"Ready": "False/ModelLoading", "Paused": "True/PausedByAnnotation"},
    ),
    "pinned": (
        tier(annotations={"modelfleet.dev/pin-replicas": "2"}),
        HEALTHY,
        {"Ready": "True/ReplicasReady", "Pinned": "True/PinnedByAnnotation"},
    ),
    "pinned to no number": (
        tier(annotations={"modelfleet.dev/pin-replicas": "two"}),
        HEALTHY,
        {"Ready": "True/ReplicasReady", "Pinned": "False/InvalidPin"},
    ),
    "an external API is pinned": (
        external_tier(annotations={"modelfleet.dev/pin-replicas": "2"}),
        Observed(endpoint="https://api.example.com/v1"),
        {"Ready": "True/External", "Pinned": "False/InvalidPin"},
    ),
    "external": (
        external_tier(),
        Observed(endpoint="https://api.example.com/v1"),
        {"Ready": "True/External"},
    ),
}


def verdicts(made: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: f"{each['status']}/{each['reason']}" for each in made["conditions"]}


@pytest.mark.parametrize(("spec", "seen", "want"), CASES.values(), ids=CASES)
def test_conditions(spec: ModelTier, seen: Observed, want: dict[str, str]):
    got = verdicts(status(spec, seen, now_s=0.0))

    good = {kind for kind in ("ResolvedRefs", "WorkloadAvailable") if got[kind].startswith("True/")}
    assert {kind: verdict for kind, verdict in got.items() if kind not in good} == want


@pytest.mark.parametrize(("spec", "seen"), [row[:2] for row in CASES.values()], ids=CASES)
def test_every_condition_is_set_on_the_first_visit(spec: ModelTier, seen: Observed):
    got = verdicts(status(spec, seen, now_s=0.0))

    assert {"Ready", "ResolvedRefs", "WorkloadAvailable"} <= set(got) <= set(TYPES)


def test_the_rest_of_the_status():
    got = status(tier(), LOADING, now_s=0.0)

    del got["conditions"]
    assert got == {
        "observedGeneration": 1,
        "engine": "llamaCpp",
        "endpoint": "http://small-tier.models.svc/v1",
        "replicas": 2,
        "readyReplicas": 1,
        "ready": "1/2",
        "selector": "a=b",
    }


def test_a_revision_is_shown_and_one_that_is_no_commit_is_said_so():
    seen = replace(HEALTHY, source="hf://o/r@main", revision="main", pinned=False)

    got = status(tier(), seen, now_s=0.0)

    assert got["model"] == {"source": "hf://o/r@main", "revision": "main"}
    assert verdicts(got)["ResolvedRefs"] == "True/RevisionNotResolved"
