"""What the capacity loop writes, as a real API server stores it."""

import json
import math
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
from modelfleet.control.capacity.loop import CapacityLoop, World
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.view import MemoryView
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.learned import decode
from modelfleet.plan.load import Answers, CascadeLoad, FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import Asked, Routers

pytestmark = pytest.mark.controlplane

CRDS = Path(__file__).parents[3] / "crds"
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

ROUTER_POD: Manifest = {
    "kind": "Pod",
    "metadata": {
        "name": "router-0",
        "namespace": NAMESPACE,
        "resourceVersion": "1",
        "labels": {names.LABEL_ROUTER: names.router()},
    },
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


class Busy:
    """Eleven requests in flight at the only tier, and a hundred answers."""

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
        done = control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
        assert not done.returncode, done.stderr
    view = MemoryView()
    watch(control_plane, view)
    view.watched(ROUTER_POD)
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


PLANNED = "planned"
SLOTTED = {
    **TIER,
    "metadata": {"name": "small", "namespace": PLANNED},
    "spec": {
        "model": {"uri": "pvc://models/m.gguf"},
        "llamaCpp": {"slots": 4},
        "scaling": {"maxReplicas": 5},
    },
}
BIG = {**SLOTTED, "metadata": {"name": "big", "namespace": PLANNED}}
CHAT = {
    **CASCADE,
    "metadata": {"name": "chat", "namespace": PLANNED},
    "spec": {
        "modelName": "chat",
        "slo": {"ttftP95": "500ms"},
        "tiers": [
            {"name": "s", "tierRef": {"name": "small"}, "targetShare": 70},
            {"name": "b", "tierRef": {"name": "big"}, "targetShare": 30},
        ],
    },
}
FIRST = Buckets((0.25, 0.5, math.inf), (95.0, 100.0, 100.0), 20.0)


class Steady:
    """Four requests a second that take two seconds each."""

    async def load(self, *, since_s: float) -> FleetLoad:
        tier = TierLoad(
            in_flight=8.0, age_s=1.0, routers=1, rate_rps=2.0, ttft=FIRST, prompt_tokens=100.0,
            output_tokens=50.0, answer_s=2.0,
        )  # fmt: skip
        chat = CascadeLoad(
            age_s=1.0, routers=1, arrived=60.0, counts=(60.0,) * 40, answers=Answers(60.0, FIRST), failed=0.0
        )
        return FleetLoad(
            tiers={Name(PLANNED, name): tier for name in ("small", "big")},
            started={},
            answered={},
            cascades={Name(PLANNED, "chat"): chat},
            since_s=since_s,
        )


async def test_a_plan_is_written_and_found_again(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
):
    def seen(*what: str) -> Manifest:
        answer: Manifest = json.loads(control_plane.kubectl("get", *what, "-n", PLANNED, "-o", "json").stdout)
        return answer

    control_plane.kubectl("apply", "--server-side", "-f", str(CRDS))
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    control_plane.kubectl("create", "namespace", PLANNED)
    for thing in (SLOTTED, BIG, CHAT):
        done = control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
        assert not done.returncode, done.stderr
    view = MemoryView()
    for what in ("modeltier/small", "modeltier/big", "cascade/chat"):
        view.watched(seen(what))
    view.watched(ROUTER_POD | {"metadata": {**ROUTER_POD["metadata"], "namespace": PLANNED}})
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(control_plane.kubeconfig))
    async with KubeCluster(timeout_s=15.0) as cluster:
        clock = SystemClock()

        def loop() -> CapacityLoop:
            return CapacityLoop(
                World(
                    view,
                    cluster,
                    KubeEvents(cluster, clock.now_s, instance="test"),
                    clock,
                    Steady(),
                    Routers(),
                    Asked(),
                ),
                interval_s=lambda: 15.0,
                instruments=CapacityMetrics(CollectorRegistry()),
            )

        await loop().tick()
        small, chat = seen("modeltier/small"), seen("cascade/chat")
        notes = seen("configmap/chat-cascade-plan")
        await loop().tick()  # another operator
        again = seen("configmap/chat-cascade-plan")

    assert small["status"]["desiredReplicas"] > 1
    assert small["status"]["lastScale"]["reason"] == "LoadAhead"
    assert {each["type"]: each["reason"] for each in small["status"]["conditions"]}[
        "ScalingActive"
    ] == "FollowsPlan"
    assert {each["type"]: each["reason"] for each in chat["status"]["conditions"]}["WithinSLO"] == "Kept"
    assert [tier["carriesPerHour"] for tier in chat["status"]["tiers"]] == [5040, 5040]
    (owner,) = notes["metadata"]["ownerReferences"]
    assert owner["uid"] == chat["metadata"]["uid"]
    assert (
        notes["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    )  # not within 5 minutes
    assert decode(notes["data"]["learned.json"]).tiers == ("small", "big")
