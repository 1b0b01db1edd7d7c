"""What is read of a stranger's workload on a real API server, and how it is scaled."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import pytest

from e2e.cluster.controlplane import ControlPlane
from modelfleet.adapters.kube import KubeCluster
from modelfleet.adapters.workloads import KubeWorkloads
from modelfleet.api.existing import ExistingWorkload
from modelfleet.diff.adopted import Found
from modelfleet.errors import Conflict
from tests.adapters.qwen import DEPLOYMENT, LABELS, RUNS, SERVICE, TEMPLATE

pytestmark = pytest.mark.controlplane

STATEFUL_SET: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "qwen"},
    "spec": {"replicas": 3, "serviceName": "qwen", **RUNS},
}

AUTOSCALER: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "theirs"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "qwen"},
        "maxReplicas": 5,
    },
}
# An object of an operator of somebody else's, as theirs are: a number in spec, and a scale subresource.
KIND: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servers.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Server", "plural": "servers"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
                "subresources": {
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
                },
            }
        ],
    },
}
SERVERS: list[dict[str, Any]] = [
    {"apiVersion": "example.com/v1", "kind": "Server", "metadata": {"name": name}, "spec": spec}
    for name, spec in (("counted", {"replicas": 1}), ("blank", {}))
]
Apply = Callable[..., None]


def existing(kind: str = "Deployment", name: str = "qwen", version: str = "apps/v1") -> ExistingWorkload:
    target = {"apiVersion": version, "kind": kind, "name": name}
    return ExistingWorkload.model_validate(
        {"engine": "vllm", "serviceRef": {"name": "qwen"}, "scaleTargetRef": target}
    )


@pytest.fixture
def apply(served: ControlPlane, namespace: str) -> Apply:
    def applied(*things: dict[str, Any]) -> None:
        for thing in things:
            made = served.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(thing))
            assert made.returncode == 0, made.stderr

    return applied


@pytest.fixture
def theirs(served: ControlPlane, apply: Apply) -> None:
    apply(KIND)
    served.kubectl("wait", "--for=condition=Established", "crd/servers.example.com", "--timeout=30s")
    apply(DEPLOYMENT, STATEFUL_SET, SERVICE, AUTOSCALER, *SERVERS)


async def test_targets_are_found_or_it_is_said_why_not(theirs: None, namespace: str, cluster: KubeCluster):
    looks: dict[str, tuple[ExistingWorkload, tuple[int | None, str]]] = {
        "a Deployment": (existing(), (2, "")),
        "a StatefulSet": (existing("StatefulSet"), (3, "")),
        "a kind of somebody's operator": (existing("Server", "counted", "example.com/v1"), (1, "")),
        "nobody wrote its number yet": (existing("Server", "blank", "example.com/v1"), (None, "NoNumber")),
        "nobody": (existing(name="nobody"), (None, "NotFound")),
        "an API that is not served": (existing("Model", "m", "kubeai.org/v1"), (None, "KindNotFound")),
        "a kind that its API lacks": (existing("Model"), (None, "KindNotFound")),
        "a kind without the subresource": (existing("DaemonSet"), (None, "NoSubresource")),
        "a kind of the core": (existing("ReplicationController", "x", "v1"), (None, "NotFound")),
    }
    workloads = KubeWorkloads(cluster)

    found = {story: await workloads.look(namespace, wanted) for story, (wanted, _) in looks.items()}

    assert {
        story: (each.scale["spec"]["replicas"] if each.scale else None, each.no_scale)
        for story, each in found.items()
    } == {story: want for story, (_, want) in looks.items()}
    for each in found.values():
        assert each.service is not None
        assert [hpa["metadata"]["name"] for hpa in each.autoscalers] == ["theirs"]
        assert each.forbidden == ()


async def test_the_pods_are_those_behind_the_service(
    served: ControlPlane, apply: Apply, namespace: str, cluster: KubeCluster
):
    other = {"metadata": {"name": "other"}, "spec": TEMPLATE["spec"]}
    apply(SERVICE, {"apiVersion": "v1", "kind": "Pod", **other})
    apply({"apiVersion": "v1", "kind": "Pod", **other, "metadata": {"name": "mine", "labels": LABELS}})

    async with asyncio.timeout(15):
        found = Found()
        while not found.pods:
            found = await KubeWorkloads(cluster).look(namespace, existing())

    assert [pod["metadata"]["name"] for pod in found.pods] == ["mine"]


async def test_endpoints_that_are_no_pods_count_where_nobody_selects(
    apply: Apply, namespace: str, cluster: KubeCluster
):
    ends = [{"addresses": [f"10.0.0.{n}"], "conditions": {"ready": n == 1}} for n in (1, 2)]
    piece = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "qwen-1", "labels": {"kubernetes.io/service-name": "qwen"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8000}],
        "endpoints": ends,
    }
    apply({**SERVICE, "spec": {"ports": SERVICE["spec"]["ports"]}}, piece)

    async with asyncio.timeout(15):
        found = Found()
        while not found.pods:
            found = await KubeWorkloads(cluster).look(namespace, existing())

    said = {pod["metadata"]["name"]: pod["status"]["conditions"][0]["status"] for pod in found.pods}
    assert said == {"10.0.0.1": "True", "10.0.0.2": "False"}


@pytest.mark.parametrize("target", [existing(), existing("Server", "counted", "example.com/v1")])
async def test_the_scale_is_written_and_nothing_else(
    theirs: None, served: ControlPlane, namespace: str, cluster: KubeCluster, target: ExistingWorkload
):
    workloads = KubeWorkloads(cluster)

    stored = await workloads.resize(namespace, target, await workloads.look(namespace, target), 4)

    assert stored["spec"]["replicas"] == 4
    again = await workloads.look(namespace, target)
    assert again.scale is not None
    assert again.scale["spec"]["replicas"] == 4


async def test_a_look_that_is_old_is_not_acted_on(
    theirs: None, served: ControlPlane, namespace: str, cluster: KubeCluster
):
    workloads = KubeWorkloads(cluster)
    before = await workloads.look(namespace, existing())
    served.kubectl("label", "deployment/qwen", "-n", namespace, "touched=yes")

    with pytest.raises(Conflict):
        await workloads.resize(namespace, existing(), before, 4)

    now = await workloads.look(namespace, existing())
    assert replace(now, scale=None, pods=()) == replace(before, scale=None, pods=())
    assert now.scale is not None
    assert now.scale["spec"]["replicas"] == 2


class Nobody(KubeCluster):
    """On behalf of somebody who may do next to nothing."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        call = self.api.call_api

        async def call_as_nobody(*args: Any, header_params: dict[str, str], **more: Any) -> Any:
            return await call(*args, header_params={**header_params, "Impersonate-User": "nobody"}, **more)

        self.api.call_api = call_as_nobody
        return self


async def test_rights_that_are_missing_are_named(theirs: None, namespace: str, cluster: KubeCluster):
    async with Nobody(timeout_s=15.0) as nobody:
        found = await KubeWorkloads(nobody).look(namespace, existing())

    rights = ("get deployments.apps/scale", "get services", "list horizontalpodautoscalers.autoscaling")
    assert found == Found(forbidden=rights)
