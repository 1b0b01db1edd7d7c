import json

import pytest

from e2e.cluster.controlplane import ControlPlane
from modelfleet import names
from modelfleet.adapters.events import KubeEvents
from modelfleet.adapters.kube import KubeCluster

pytestmark = pytest.mark.controlplane


def about(namespace: str) -> dict[str, object]:
    meta = {"name": "small", "namespace": namespace, "uid": "u", "resourceVersion": "1"}
    return {"apiVersion": names.API_VERSION, "kind": "ModelTier", "metadata": meta}


async def test_an_event_is_shown_with_its_object(cluster: KubeCluster, served: ControlPlane, namespace: str):
    events = KubeEvents(cluster, lambda: 1_780_000_000.0, instance="pod-1")

    await events.record(about(namespace), reason="ScaledUp", message="From 1 to 3", warning=True)

    told = served.kubectl("events", "-n", namespace, "--for", "modeltier/small", "-o", "json")
    [event] = json.loads(told.stdout)["items"]
    assert (event["reason"], event["message"], event["type"]) == ("ScaledUp", "From 1 to 3", "Warning")
    assert event["lastTimestamp"] == "2026-05-28T20:26:40Z"


async def test_an_event_that_cannot_be_posted_is_dropped(cluster: KubeCluster):
    events = KubeEvents(cluster, lambda: 0.0, instance="pod-1")

    await events.record(about("no-such-namespace"), reason="ScaledUp", message="x")
