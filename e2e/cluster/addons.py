"""What a fresh cluster needs before pods can use it: DNS, GPUs, and nodes that only pretend.  Manifests only."""

from typing import Any

from e2e.cluster import components

Manifest = dict[str, Any]

NODE = "node-0"
POOL_LABEL = "modelfleet.dev/node-pool"
GPU = "nvidia.com/gpu"
GPUS_ON_NODE = 16
KWOK_NODES = ("kwok-0", "kwok-1")
KWOK_TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}

DNS_IMAGE = "localhost/coredns:dev"
# Not 53, so that it needs no privilege.
DNS_PORT = 5353
COREFILE = f"""\
.:{DNS_PORT} {{
    errors
    health :8080
    ready :8181
    cache 5
    kubernetes cluster.local in-addr.arpa ip6.arpa
}}
"""
_DNS_LABELS = {"k8s-app": "kube-dns"}


def dns() -> list[Manifest]:
    """CoreDNS behind the address that every pod asks."""
    system = {"name": "coredns", "namespace": "kube-system"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": system},
        *_dns_rbac(system),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": system, "data": {"Corefile": COREFILE}},
        _dns_deployment(system),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**system, "name": "kube-dns", "labels": _DNS_LABELS},
            "spec": {
                "clusterIP": components.DNS_ADDRESS,
                "selector": _DNS_LABELS,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": DNS_PORT},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": DNS_PORT},
                ],
            },
        },
    ]


def _dns_rbac(system: Manifest) -> list[Manifest]:
    read = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
    ]
    name = "system:coredns"
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", **system}],
        },
    ]


def _dns_deployment(system: Manifest) -> Manifest:
    container = {
        "name": "coredns",
        "image": DNS_IMAGE,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"containerPort": DNS_PORT, "protocol": "UDP"}, {"containerPort": DNS_PORT}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**system, "labels": _DNS_LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _DNS_LABELS},
            "template": {
                "metadata": {"labels": _DNS_LABELS},
                "spec": {
                    "serviceAccountName": "coredns",
                    "dnsPolicy": "Default",
                    "priorityClassName": "system-cluster-critical",
                    "containers": [container],
                    "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
                },
            },
        },
    }


def gpu_patch(count: int) -> list[Manifest]:
    """A JSON patch of a node's status that gives it GPUs; the scheduler and the kubelet believe it."""
    path = GPU.replace("/", "~1")
    return [
        {"op": "add", "path": f"/status/{place}/{path}", "value": str(count)}
        for place in ("capacity", "allocatable")
    ]


def kwok_node(name: str) -> Manifest:
    """A big GPU node on which pods are scheduled and pretend to run."""
    room = {"cpu": "64", "memory": "512Gi", "pods": "110", GPU: "8"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                POOL_LABEL: "kwok",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "type": "kwok",
            },
        },
        "spec": {"taints": [KWOK_TAINT]},
        "status": {"allocatable": room, "capacity": room},
    }
