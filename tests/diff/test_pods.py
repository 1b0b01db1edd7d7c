from typing import Any

import pytest

from modelfleet.diff.pods import cause
from tests.make import deployment_object, pod_object

WAITING = deployment_object(ready=0)


def engine(
    state: dict[str, Any], last: dict[str, Any] | None = None, *, name: str = "engine"
) -> dict[str, Any]:
    container = {"name": name, "state": state, "lastState": last or {}, "ready": False}
    field = "initContainerStatuses" if name == "download" else "containerStatuses"
    return pod_object(**{field: [container]})


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return engine({"waiting": {"reason": reason, "message": message}})


def crashed(**terminated: Any) -> dict[str, Any]:
    return engine({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1, **terminated}})


def unscheduled(message: str) -> dict[str, Any]:
    return pod_object(
        conditions=[
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        ]
    )


def refused(message: str) -> dict[str, Any]:
    return deployment_object(
        ready=0,
        conditions=[
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
        ],
    )


LATE = deployment_object(
    ready=0,
    conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
)
RUNNING: dict[str, Any] = {"running": {}}
CASES: dict[str, tuple[Any, list[Any], tuple[str, str] | None]] = {
    "nothing known yet": (WAITING, [], None),
    "image cannot be pulled": (
        WAITING,
        [waiting("ErrImagePull", 'rpc error: failed to pull image "x:1"')],
        ("ImagePullBackOff", "Container engine cannot pull image x:1"),
    ),
    "image pull is backed off: the same words": (
        WAITING,
        [waiting("ImagePullBackOff", 'Back-off pulling image "x:1"')],
        ("ImagePullBackOff", "Container engine cannot pull image x:1"),
    ),
    "no GPU is free": (
        WAITING,
        [
            unscheduled(
                "0/3 nodes are available: 2 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint. preemption: no"
            )
        ],
        (
            "Unschedulable",
            "No node of pool gpu fits: Insufficient nvidia.com/gpu, node(s) had untolerated taint",
        ),
    ),
    "no GPU is free among more nodes: the same words": (
        WAITING,
        [
            unscheduled(
                "0/4 nodes are available: 3 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint."
            )
        ],
        (
            "Unschedulable",
            "No node of pool gpu fits: Insufficient nvidia.com/gpu, node(s) had untolerated taint",
        ),
    ),
    "the volume claim is missing": (
        WAITING,
        [unscheduled('persistentvolumeclaim "models" not found')],
        ("PersistentVolumeClaimNotFound", "PersistentVolumeClaim models does not exist"),
    ),
    "the secret is missing": (
        WAITING,
        [waiting("CreateContainerConfigError", 'secret "hub" not found')],
        ("SecretNotFound", "Secret hub does not exist"),
    ),
    "the secret lacks the key": (
        WAITING,
        [waiting("CreateContainerConfigError", "couldn't find key token in Secret models/hub")],
        ("SecretNotFound", "Secret hub has no key token"),
    ),
    "it needs more memory": (
        WAITING,
        [crashed(reason="OOMKilled", exitCode=137)],
        ("OOMKilled", "Container engine needs more memory than its limit"),
    ),
    "it crashes: the last line it logged": (
        WAITING,
        [crashed(message="loading\n2026-01-01 10:00:00.123 error: no such model\n")],
        ("CrashLoopBackOff", "Container engine exits with code 1: error: no such model"),
    ),
    "it crashed and runs again: the same words": (
        WAITING,
        [engine(RUNNING, {"terminated": {"exitCode": 1, "message": "10:00:01 error: no such model"}})],
        ("CrashLoopBackOff", "Container engine exits with code 1: error: no such model"),
    ),
    "the download fails": (
        WAITING,
        [
            engine(
                {"waiting": {}},
                {"terminated": {"exitCode": 1, "message": "cannot download"}},
                name="download",
            )
        ],
        ("DownloadFailed", "Container download exits with code 1: cannot download"),
    ),
    "the download runs": (
        WAITING,
        [engine(RUNNING, name="download")],
        ("ModelDownloading", "The model is being downloaded"),
    ),
    "the model loads": (WAITING, [engine(RUNNING)], ("ModelLoading", "The model is being loaded")),
    "the container is made": (
        WAITING,
        [waiting("ContainerCreating")],
        ("ContainerCreating", "Pods are being created"),
    ),
    "the quota is used up": (
        refused(
            'pods "small-tier-5d-x7k" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=4, limited: cpu=4'
        ),
        [],
        ("QuotaExceeded", "exceeded quota: q, requested: cpu=1"),
    ),
    "the namespace is stricter than we are": (
        refused('pods "small-tier-5d-x7k" is forbidden: violates PodSecurity "restricted:latest"'),
        [],
        ("PodSecurityViolation", 'violates PodSecurity "restricted:latest"'),
    ),
    "it takes too long": (
        LATE,
        [engine(RUNNING)],
        ("ProgressDeadlineExceeded", "Pods did not become ready in time: The model is being loaded"),
    ),
    "it takes too long because it crashes: the crash": (
        LATE,
        [crashed(message="boom")],
        ("CrashLoopBackOff", "Container engine exits with code 1: boom"),
    ),
}


@pytest.mark.parametrize(("deployment", "pods", "want"), CASES.values(), ids=CASES)
def test_cause(deployment: Any, pods: list[Any], want: tuple[str, str] | None):
    got = cause(deployment, pods, pool="gpu")

    assert (got and (got.reason, got.message)) == want


def test_a_pod_that_leaves_or_is_ready_has_no_say():
    leaving = crashed(message="boom")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = pod_object(conditions=[{"type": "Ready", "status": "True"}])

    assert cause(WAITING, [leaving, ready], pool=None) is None


def test_the_gravest_cause_wins_in_any_order():
    pods = [engine(RUNNING), crashed(message="boom"), unscheduled('persistentvolumeclaim "m" not found')]

    both = {str(cause(WAITING, order, pool=None)) for order in (pods, pods[::-1])}

    assert len(both) == 1
    assert "PersistentVolumeClaimNotFound" in both.pop()
