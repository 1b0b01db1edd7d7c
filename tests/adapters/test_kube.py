import asyncio
from typing import Any

import pytest

from e2e.cluster.controlplane import ControlPlane, free_ports
from modelfleet import names
from modelfleet.adapters.kube import PAGE, KubeCluster, collection, path
from modelfleet.api.key import Key
from modelfleet.errors import ClusterError, Conflict

pytestmark = pytest.mark.controlplane
MANAGER = "test-manager"
OURS = {names.LABEL_MANAGED_BY: names.MANAGER}


def config(namespace: str, name: str = "a", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": OURS},
        "data": data,
    }


def tier(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "ModelTier",
        "metadata": {"name": "t", "namespace": namespace},
        "spec": {"model": {"uri": "pvc://claim/x.gguf"}, "llamaCpp": {}},
    }


@pytest.mark.parametrize(
    ("key", "want"),
    [
        (Key("Pod", "n", "a"), "/api/v1/namespaces/n/pods/a"),
        (Key("Cascade", "n", "a"), "/apis/modelfleet.dev/v1alpha1/namespaces/n/cascades/a"),
    ],
)
def test_path(key: Key, want: str):
    assert path(key) == want
    assert collection(key.kind, None) == want.replace("/namespaces/n", "").removesuffix("/a")


async def test_apply_creates_then_changes_and_returns_what_is_stored(cluster: KubeCluster, namespace: str):
    made = await cluster.apply(config(namespace, x="1", y="1"), manager=MANAGER)
    again = await cluster.apply(config(namespace, x="2"), manager=MANAGER)

    assert made["data"] == {"x": "1", "y": "1"}
    assert again["data"] == {"x": "2"}, "a field that is no longer applied is gone"
    assert (again["kind"], again["metadata"]["uid"]) == ("ConfigMap", made["metadata"]["uid"])


async def test_applying_the_same_changes_nothing(cluster: KubeCluster, namespace: str):
    made = await cluster.apply(config(namespace, x="1"), manager=MANAGER)
    again = await cluster.apply(config(namespace, x="1"), manager=MANAGER)

    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_stale_write_is_refused(cluster: KubeCluster, namespace: str):
    old = await cluster.apply(config(namespace, x="1"), manager=MANAGER)
    await cluster.apply(config(namespace, x="2"), manager=MANAGER)
    stale = config(namespace, x="3")
    stale["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    stale["metadata"]["uid"] = old["metadata"]["uid"]

    with pytest.raises(Conflict):
        await cluster.apply(stale, manager=MANAGER)
    with pytest.raises(Conflict):
        await cluster.delete(old)


async def test_a_write_for_an_object_that_was_made_again_is_refused(cluster: KubeCluster, namespace: str):
    old = await cluster.apply(config(namespace, x="1"), manager=MANAGER)
    await cluster.delete(old)
    await cluster.apply(config(namespace, x="1"), manager=MANAGER)
    stale = config(namespace, x="3")
    stale["metadata"] |= {field: old["metadata"][field] for field in ("uid", "resourceVersion")}

    with pytest.raises(Conflict):
        await cluster.apply(stale, manager=MANAGER)


async def test_get_and_delete(cluster: KubeCluster, namespace: str):
    key = Key("ConfigMap", namespace, "a")
    assert await cluster.get(key) is None

    made = await cluster.apply(config(namespace), manager=MANAGER)
    found = await cluster.get(key)
    assert found is not None
    assert found["metadata"]["uid"] == made["metadata"]["uid"]

    await cluster.delete(made)
    await cluster.delete(made)  # A missing object is fine.
    assert await cluster.get(key) is None


async def test_status_has_two_owners_who_leave_each_other_alone(cluster: KubeCluster, namespace: str):
    await cluster.apply(tier(namespace), manager=MANAGER)
    key = Key("ModelTier", namespace, "t")

    def condition(kind: str) -> dict[str, str]:
        return {"type": kind, "status": "True", "reason": "Test", "message": ""}

    await cluster.apply_status(
        key, {"desiredReplicas": 3, "conditions": [condition("ScalingActive")]}, manager="b"
    )
    await cluster.apply_status(key, {"conditions": [condition("Ready"), condition("Stalled")]}, manager="a")
    stored = await cluster.apply_status(key, {"conditions": [condition("Ready")]}, manager="a")

    assert stored["status"]["desiredReplicas"] == 3
    assert {each["type"] for each in stored["status"]["conditions"]} == {"Ready", "ScalingActive"}


async def test_a_missing_object_has_no_status(cluster: KubeCluster, namespace: str):
    with pytest.raises(ClusterError) as refused:
        await cluster.apply_status(Key("ModelTier", namespace, "none"), {"ready": "0/1"}, manager=MANAGER)

    assert refused.value.status == 404


async def test_a_list_has_every_page_of_what_is_ours(cluster: KubeCluster, namespace: str):
    foreign = config(namespace, "foreign")
    del foreign["metadata"]["labels"]
    await cluster.apply(foreign, manager=MANAGER)
    many = [config(namespace, f"a-{number:03}") for number in range(PAGE + 5)]
    await asyncio.gather(*(cluster.apply(each, manager=MANAGER) for each in many))

    found, version = await cluster.list("ConfigMap", namespace=namespace)

    assert [item["metadata"]["name"] for item in found] == [each["metadata"]["name"] for each in many]
    assert all(item["kind"] == "ConfigMap" and item["apiVersion"] == "v1" for item in found)
    assert version > 0
    everywhere, _ = await cluster.list("ConfigMap")
    assert len(everywhere) >= len(found)


async def test_a_refusal_says_what_the_api_server_said(cluster: KubeCluster, namespace: str):
    wrong = tier(namespace)
    wrong["spec"]["vllm"] = {}

    with pytest.raises(ClusterError, match="exactly one") as refused:
        await cluster.apply(wrong, manager=MANAGER)

    assert (refused.value.status, refused.value.reason) == (422, "Invalid")


async def test_no_answer_is_an_error_without_a_status(served: ControlPlane, cluster: KubeCluster):
    cluster.api.configuration.host = f"https://127.0.0.1:{free_ports(1)[0]}"

    with pytest.raises(ClusterError) as refused:
        await cluster.get(Key("ConfigMap", "default", "a"))

    assert refused.value.status == 0
