"""A real HorizontalPodAutoscaler, of the cluster's own controller manager, over a ModelTier's scale subresource.

What it needs beside itself is an external metrics API; `adapter.py` is one.
"""

import base64
import json
import tempfile
from pathlib import Path

from e2e.cluster.pki import Authority
from e2e.demo.kube import Kube, Manifest, wait_until
from e2e.scenarios.world import World
from modelfleet import names

NAMESPACE, NAME = "monitoring", "external-metrics"
GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
IN_FLIGHT = "requests-in-flight"
QUERIES = {
    IN_FLIGHT: 'sum(modelfleet_router_requests_in_flight{fleet_namespace="NAMESPACE", model_tier="SELECTED"})'
}
READY_LIMIT_S = 90.0
PORT = 8443


def adapter(kube: Kube) -> None:
    """The external metrics API, ready."""
    authority, pair = _certificates()
    script = (Path(__file__).parent / "adapter.py").read_text()
    meta = {"name": NAME, "namespace": NAMESPACE}
    kube.apply([
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"adapter.py": script}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": pair},
        _deployment(meta),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": PORT}]},
        },
        *_rights(),
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{VERSION}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"name": NAME, "namespace": NAMESPACE},
                "caBundle": authority,
            },
        },
    ])  # fmt: skip
    # Its certificate is new, and an earlier run's pod has read the old one.
    kube.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{NAME}")
    wait_until("the external metrics API is available", lambda: _available(kube), limit_s=READY_LIMIT_S)


def remove(kube: Kube) -> None:
    """An API that is registered and does not answer slows every discovery down."""
    kube.kubectl("delete", "apiservice", f"{VERSION}.{GROUP}", "--ignore-not-found")
    kube.kubectl("-n", NAMESPACE, "delete", "deployment", NAME, "--ignore-not-found")


def scale(world: World, tier: str, *, target: int, replicas_max: int, down_window_s: int) -> None:
    """Have the tier's replicas follow its requests in flight, `target` for each."""
    metric = {"name": IN_FLIGHT, "selector": {"matchLabels": {"tier": tier}}}
    spec = {
        "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": "ModelTier", "name": tier},
        "minReplicas": 1,
        "maxReplicas": replicas_max,
        "metrics": [
            {
                "type": "External",
                "external": {
                    "metric": metric,
                    "target": {"type": "AverageValue", "averageValue": str(target)},
                },
            }
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": down_window_s}},
    }
    meta = {"name": tier, "namespace": world.namespace}
    world.kube.apply(
        [{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": spec}]
    )


def _available(kube: Kube) -> bool:
    found = kube.get("apiservice", f"{VERSION}.{GROUP}", namespace=NAMESPACE)
    conditions = found.get("status", {}).get("conditions", [])
    return any(one["type"] == "Available" and one["status"] == "True" for one in conditions)


def _rights() -> list[Manifest]:
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "list"]}]
    name = {"name": f"modelfleet-demo-{NAME}"}
    account = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": name, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", **name},
            "subjects": [account],
        },
    ]


def _deployment(meta: Manifest) -> Manifest:
    environ = {
        "TLS_FOLDER": "/tls",
        "QUERIES": json.dumps(QUERIES),
        "PROMETHEUS": "http://prometheus.monitoring.svc:9090",
    }
    container = {
        "name": "adapter",
        "image": "localhost/tools:dev",
        "command": ["python3", "/source/adapter.py"],
        "env": [{"name": name, "value": value} for name, value in environ.items()],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "source", "mountPath": "/source"},
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
        ],
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [
            {"name": "source", "configMap": {"name": NAME}},
            {"name": "tls", "secret": {"secretName": NAME}},
        ],
    }
    labels = {"app": NAME}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**meta, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _certificates() -> tuple[str, dict[str, str]]:
    """(the authority's certificate, certificate and key), all base64 of PEM."""
    host = f"{NAME}.{NAMESPACE}.svc"
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), "modelfleet-demo")
        pair = authority.issue(NAME, host, hosts=[host])
        files = {"tls.crt": pair.cert, "tls.key": pair.key}
        return _encoded(authority.pair.cert), {name: _encoded(file) for name, file in files.items()}


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
