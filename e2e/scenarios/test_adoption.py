"""A Deployment and its Service as a stranger made them: routed to, scaled, and left behind as they are."""

from typing import Any

from e2e.cluster import models
from e2e.cluster.imageset import RECIPES
from e2e.demo.kube import Manifest
from e2e.scenarios.world import World
from modelfleet import names
from modelfleet.desired.meta import container_security, pod_security

IMAGE = next(recipe.tag for recipe in RECIPES if recipe.name == "llama-server")
LABELS = {"app": "qwen"}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen"}
EXISTING = {
    "engine": "llamaCpp",
    "slots": 2,
    "serviceRef": {"name": "qwen", "port": 9000},
    "scaleTargetRef": TARGET,
}
BUSY = [{"name": "busy", "type": "Concurrency", "target": 50}]


def theirs(namespace: str) -> list[Manifest]:
    """One llama.cpp server behind a port that has neither our name nor our number."""
    server = {
        "name": "server",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/app/llama-server"],
        "args": [
            *("--model", f"/models/{models.SMALL}", "--host", "0.0.0.0", "--port", "8080"),
            *("--ctx-size", "2048", "--parallel", "2", "--threads", "1", "--threads-http", "16"),
        ],
        "ports": [{"name": "llama", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "llama"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": container_security(read_only_root=False),
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    pod = {
        "containers": [server],
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": models.CLAIM}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "qwen", "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }
    ports = [{"name": "api", "port": 9000, "targetPort": "llama"}, {"name": "other", "port": 9001}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "qwen", "namespace": namespace},
        "spec": {"selector": LABELS, "ports": ports},
    }
    return [deployment, service]


def hpa(namespace: str) -> Manifest:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs", "namespace": namespace},
        "spec": {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 2},
    }


def adopt(world: World, **scaling: Any) -> None:
    spec: dict[str, Any] = {"model": {"servedName": "qwen"}, "existing": EXISTING}
    if scaling:
        spec["scaling"] = {"maxReplicas": 3, "metrics": BUSY, **scaling}
    world.apply("ModelTier", "adopted", spec)


def replicas(world: World) -> int:
    found: int = world.get("deployment", "qwen")["spec"]["replicas"]
    return found


def test_a_strangers_deployment_is_adopted_and_left(world: World) -> None:
    world.claim(models.claim(world.namespace))
    world.kube.apply(theirs(world.namespace))
    world.wait("theirs runs", lambda: world.get("deployment", "qwen")["status"].get("readyReplicas") == 1)
    before = world.get("deployment", "qwen"), world.get("service", "qwen")

    adopt(world)
    world.cascade("chat", "adopted")
    world.wait_ready("cascade", "chat")
    answer = world.ask("chat")
    assert (answer.status, answer.tier) == (200, "adopted")
    assert replicas(world) == 1

    adopt(world, minReplicas=2)
    world.wait("two run", lambda: world.get("deployment", "qwen")["status"].get("readyReplicas") == 2)
    world.wait_ready("modeltier", "adopted")
    assert world.get("modeltier", "adopted")["status"]["ready"] == "2/2"
    answers = world.ask_all([{"model": "chat", "question": f"{n}?"} for n in range(8)], at_once=4)
    assert {each.status for each in answers} == {200}

    # Somebody else's autoscaler is not fought, and not for good either.
    world.kube.apply([hpa(world.namespace)])
    world.wait_condition("modeltier", "adopted", "ScalingActive", "False", "ScaledByHPA", says="theirs")
    world.kubectl("scale", "deployment", "qwen", "--replicas=1")
    world.wait(
        "what they asked for runs", lambda: world.get("modeltier", "adopted")["status"]["ready"] == "1/1"
    )
    world.kubectl("delete", "hpa", "theirs")
    world.wait("two are wanted again", lambda: replicas(world) == 2)
    world.wait_ready("modeltier", "adopted")

    after = world.get("deployment", "qwen"), world.get("service", "qwen")
    assert _told(after[0]) == _told(before[0])
    assert after[1] == before[1]
    assert not world.objects("deployments", f"{names.LABEL_COMPONENT}=engine")
    pods = {pod["metadata"]["uid"] for pod in world.objects("pods", "app=qwen")}

    world.kubectl("delete", "cascade", "chat")
    world.kubectl("delete", "modeltier", "adopted")
    world.wait("the router is gone", lambda: not world.exists("deployment", names.SHARED_ROUTER))

    left = world.get("deployment", "qwen")
    assert {**left["spec"], "replicas": 1} == before[0]["spec"]
    assert left["spec"]["replicas"] == 2
    assert {pod["metadata"]["uid"] for pod in world.objects("pods", "app=qwen")} == pods


def _told(deployment: Manifest) -> dict[str, Any]:
    """What its owner says of it: all but the number, and what every write or rollout moves."""
    moves = ("generation", "managedFields", "resourceVersion")
    metadata = {field: value for field, value in deployment["metadata"].items() if field not in moves}
    return {"metadata": metadata, "spec": {**deployment["spec"], "replicas": None}}
