"""A stranger's Deployment on a real API server, and the only field of it that is ever written."""

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import kube_config

from e2e.cluster.controlplane import ControlPlane
from modelfleet import names
from modelfleet.adapters.clock import SystemClock
from modelfleet.adapters.events import KubeEvents
from modelfleet.adapters.kube import KubeCluster
from modelfleet.adapters.workloads import KubeWorkloads
from modelfleet.api.meta import Manifest
from modelfleet.control.context import Context, FleetSettingsCell
from modelfleet.control.ports import Key
from modelfleet.control.tier import reconcile_tier
from modelfleet.control.view import MemoryView
from tests.adapters.qwen import DEPLOYMENT, SERVICE
from tests.fakes import FakeHub, FakeReports

pytestmark = pytest.mark.controlplane

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "strangers"
KEY = Key("ModelTier", NAMESPACE, "adopted")
TIER = {
    "apiVersion": names.API_VERSION,
    "kind": "ModelTier",
    "metadata": {"name": "adopted", "namespace": NAMESPACE},
    "spec": {
        "model": {"servedName": "qwen"},
        "existing": {
            "engine": "vllm",
            "serviceRef": {"name": "qwen"},
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen"},
        },
        "scaling": {"maxReplicas": 5, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]},
    },
}


def stored(control_plane: ControlPlane, what: str) -> Manifest:
    text = control_plane.kubectl("get", what, "-n", NAMESPACE, "--show-managed-fields", "-o", "json").stdout
    answer: Manifest = json.loads(text)
    return answer


@pytest.fixture(scope="module")
def theirs(control_plane: ControlPlane) -> ControlPlane:
    control_plane.kubectl("apply", "--server-side", "-f", str(CRDS))
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    control_plane.kubectl("create", "namespace", NAMESPACE)
    for thing in (DEPLOYMENT, SERVICE, TIER):
        made = control_plane.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(thing))
        assert made.returncode == 0, made.stderr
    return control_plane


@pytest.fixture
def connected(theirs: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> KubeCluster:
    # The client reads KUBECONFIG when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(theirs.kubeconfig))
    return KubeCluster(timeout_s=15.0)


async def test_the_only_field_that_is_written(theirs: ControlPlane, connected: KubeCluster):
    before = {what: stored(theirs, what) for what in ("deployment/qwen", "service/qwen")}
    async with connected as cluster:
        clock = SystemClock()
        view = MemoryView()
        ctx = Context(
            view=view,
            cluster=cluster,
            events=KubeEvents(cluster, clock.now_s, instance="test"),
            hub=FakeHub(),
            reports=FakeReports(),
            workloads=KubeWorkloads(cluster),
            clock=clock,
            settings=FleetSettingsCell(),
            resync_s=300.0,
        )
        view.watched(stored(theirs, "modeltier/adopted"))
        await reconcile_tier(KEY, ctx)
        kept = stored(theirs, "deployment/qwen")["spec"]["replicas"]
        await cluster.apply_status(KEY, {"desiredReplicas": 4}, manager=names.FIELD_MANAGER_CAPACITY)
        view.watched(stored(theirs, "modeltier/adopted"))
        await reconcile_tier(KEY, ctx)
        theirs.kubectl("wait", "deployment/qwen", "-n", NAMESPACE, "--for=jsonpath={.status.replicas}=4")
        await reconcile_tier(KEY, ctx)
        written = stored(theirs, "modeltier/adopted")["metadata"]["resourceVersion"]
        await reconcile_tier(KEY, ctx)
        assert stored(theirs, "modeltier/adopted")["metadata"]["resourceVersion"] == written

    deployment, service = stored(theirs, "deployment/qwen"), stored(theirs, "service/qwen")
    assert (kept, deployment["spec"]["replicas"]) == (2, 4)
    assert {**deployment["spec"], "replicas": 2} == before["deployment/qwen"]["spec"]
    assert _theirs(deployment) == _theirs(before["deployment/qwen"])
    assert service == before["service/qwen"]
    ours = [
        each for each in deployment["metadata"]["managedFields"] if each["manager"].startswith("modelfleet")
    ]
    assert [(each["manager"], each["fieldsV1"]) for each in ours] == [
        (names.FIELD_MANAGER_STRUCTURE, {"f:spec": {"f:replicas": {}}})
    ]
    status = stored(theirs, "modeltier/adopted")["status"]
    assert status["existing"] == {"portName": "http", "replicas": 4}
    assert status["selector"] == "app=qwen"
    made = theirs.kubectl(
        "get", "all,pdb,sa", "-n", NAMESPACE, "-l", "app.kubernetes.io/managed-by=modelfleet", "-o", "name"
    )
    assert made.stdout == ""

    theirs.kubectl("delete", "modeltier/adopted", "-n", NAMESPACE)
    left = stored(theirs, "deployment/qwen")
    assert left["spec"] == deployment["spec"]
    assert "deletionTimestamp" not in left["metadata"]


def _theirs(item: Manifest) -> dict[str, Any]:
    """What the metadata says, but for what every write moves."""
    moves = ("generation", "managedFields", "resourceVersion")
    return {field: value for field, value in item["metadata"].items() if field not in moves}
