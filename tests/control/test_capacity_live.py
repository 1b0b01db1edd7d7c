"""What the capacity loop writes, as a real API server stores it."""

import json
from pathlib import Path

import pytest
from kubernetes.aio.config import kube_config
from prometheus_client import CollectorRegistry

from e2e.cluster.controlplane import ControlPlane
from modelfleet import names
from modelfleet.adapters.clock import SystemClock
from modelfleet.adapters.events import KubeEvents
from modelfleet.adapters.kube import KubeCluster
from modelfleet.api.meta import Manifest
from modelfleet.control.capacity import CapacityLoop, World
from modelfleet.control.capacity_metrics import CapacityMetrics
from modelfleet.control.view import MemoryView
from modelfleet.plan.load import FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name
from tests.control.capacity_fleet import Asked, Routers

pytestmark = pytest.mark.controlplane

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "capacity"
TIER = {
    "apiVersion": names.API_VERSION,
    "kind": "ModelTier",
    "metadata": {"name": "small", "namespace": NAMESPACE},
    "spec": {
        "model": {"uri": "pvc://models/m.gguf"},
        "llamaCpp": {},
        "scaling": {"maxReplicas": 5, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]},
    },
}
CASCADE = {
    "apiVersion": names.API_VERSION,
    "kind": "Cascade",
    "metadata": {"name": "chat", "namespace": NAMESPACE},
    "spec": {"modelName": "chat", "tiers": [{"name": "s", "tierRef": {"name": "small"}, "targetShare": 100}]},
}


class Busy:
    """Eleven requests in flight at the only tier, and a hundred answers."""

    configured = True

    async def load(self, *, since_s: float) -> FleetLoad:
        load = TierLoad(in_flight=11.0, age_s=1.0, routers=1)
        counts = {Name(NAMESPACE, "chat"): {"s": 100.0}}
        return FleetLoad(tiers={Name(NAMESPACE, "small"): load}, started=counts, answered=counts)


def stored(control_plane: ControlPlane, *what: str) -> Manifest:
    answer: Manifest = json.loads(
        control_plane.kubectl("get", *what, "-n", NAMESPACE, "--show-managed-fields", "-o", "json").stdout
    )
    return answer


def watch(control_plane: ControlPlane, view: MemoryView) -> None:
    for what in ("modeltier/small", "cascade/chat"):
        view.watched(stored(control_plane, what))


async def test_the_api_server_takes_what_the_loop_writes(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
):
    control_plane.kubectl("apply", "--server-side", "-f", str(CRDS))
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    control_plane.kubectl("create", "namespace", NAMESPACE)
    for thing in (TIER, CASCADE):
        control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
    view = MemoryView()
    watch(control_plane, view)
    view.watched(
        {
            "kind": "Pod",
            "metadata": {
                "name": "router-0",
                "namespace": NAMESPACE,
                "resourceVersion": "1",
                "labels": {names.LABEL_ROUTER: names.router()},
            },
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
    )
    # The client reads KUBECONFIG when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(control_plane.kubeconfig))
    async with KubeCluster(timeout_s=15.0) as cluster:
        clock = SystemClock()
        events = KubeEvents(cluster, clock.now_s, instance="test")
        loop = CapacityLoop(
            World(view, cluster, events, clock, Busy(), Routers(), Asked()),
            interval_s=lambda: 15.0,
            instruments=CapacityMetrics(CollectorRegistry()),
        )
        await loop.tick()
        tier, cascade = (stored(control_plane, what) for what in ("modeltier/small", "cascade/chat"))
        watch(control_plane, view)
        await loop.tick()
        again = [stored(control_plane, what) for what in ("modeltier/small", "cascade/chat")]

    assert tier["status"]["desiredReplicas"] == 3
    assert tier["status"]["lastScale"]["reason"] == "ConcurrencyAboveTarget"
    assert tier["status"]["conditions"][0]["type"] == "ScalingActive"
    assert cascade["status"]["tiers"] == [
        {"name": "s", "weight": 1000, "startedShare": 1000, "answeredShare": 1000, "targetShare": 1000}
    ]
    assert cascade["status"]["conditions"][0]["status"] == "True"
    for thing in (tier, cascade):
        managers = {entry["manager"] for entry in thing["metadata"]["managedFields"]}
        assert names.FIELD_MANAGER_CAPACITY in managers
    # Nothing changed in between, so the second pass wrote nothing.
    assert [thing["metadata"]["resourceVersion"] for thing in again] == [
        thing["metadata"]["resourceVersion"] for thing in (tier, cascade)
    ]
    told = stored(control_plane, "events")["items"]
    assert {event["reason"] for event in told} == {"ScaledUp", "WeightsChanged"}
