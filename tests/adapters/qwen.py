"""A stranger that serves Qwen: a Deployment, and the Service before it."""

from typing import Any

LABELS = {"app": "qwen"}
TEMPLATE = {
    "metadata": {"labels": LABELS},
    "spec": {"containers": [{"name": "server", "image": "example/vllm:1"}]},
}
RUNS = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "qwen"},
    "spec": {"replicas": 2, **RUNS},
}

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "qwen"},
    "spec": {"selector": LABELS, "ports": [{"name": "http", "port": 8000}]},
}
