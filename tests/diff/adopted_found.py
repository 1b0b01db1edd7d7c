"""Somebody else's workload, as it was found."""

from typing import Any

from modelfleet.diff.adopted import Found
from tests.make import existing_tier

SCALING = {"maxReplicas": 4, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]}
TIER = existing_tier()

SERVICE: dict[str, Any] = {
    "metadata": {"name": "qwen"},
    "spec": {
        "selector": {"app": "qwen"},
        "ports": [{"port": 8000, "name": "http"}, {"port": 9400, "name": "metrics"}],
    },
}
SCALE = {
    "metadata": {"name": "qwen", "resourceVersion": "7"},
    "spec": {"replicas": 2},
    "status": {"replicas": 2},
}
CALM = Found(service=SERVICE, scale=SCALE)
READY = {"metadata": {"name": "qwen-1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def hpa(**target: Any) -> dict[str, Any]:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen", **target}
    return {"metadata": {"name": "theirs"}, "spec": {"scaleTargetRef": ref}}
