"""Objects with good defaults for tests; each test changes the one thing it is about."""

import copy
from typing import Any

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import meta

NAMESPACE = "models"

SETTINGS = FleetSettings.model_validate(
    {
        "images": {
            "vllm": "example/vllm:1",
            "llamaCpp": "example/llama.cpp:1",
            "router": "example/router:1",
            "downloader": "example/downloader:1",
        },
        "nodePools": {
            "cpu": {"resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}},
            "gpu-l4": {
                "nodeSelector": {"cloud.example/accelerator": "l4"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": "ScheduleAnyway",
                    }
                ],
                "priorityClassName": "models",
                "runtimeClassName": "nvidia",
                "imagePullSecrets": [{"name": "registry"}],
                "labels": {"team": "inference"},
                "annotations": {"note": "shared"},
                "images": {"vllm": "example/vllm-cuda:1"},
                "resources": {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"nvidia.com/gpu": 1}},
                "pricePerHour": "0.71",
            },
        },
    }
)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` merged into it; a value of None removes the field."""
    result = copy.deepcopy(base)
    for field, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(field), dict):
            result[field] = merged(result[field], value)
        elif value is None:
            result.pop(field, None)
        else:
            result[field] = copy.deepcopy(value)
    return result


def tier_object(name: str = "small", **changes: Any) -> dict[str, Any]:
    """A llama.cpp ModelTier as the API server stores it; `changes` go into its spec, `status` and `annotations` aside."""
    status = changes.pop("status", {})
    annotations = changes.pop("annotations", {})
    spec = {
        "model": {"uri": "pvc://models/smollm2.gguf", "revision": "main"},
        "llamaCpp": {"contextLength": 8192, "slots": 4},
        "replicas": 1,
        "suspend": False,
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": "ModelTier",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name}",
            "generation": 1,
            "resourceVersion": "100",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": annotations,
        },
        "spec": merged(spec, changes),
        "status": status,
    }


def tier(name: str = "small", **changes: Any) -> ModelTier:
    """A llama.cpp ModelTier."""
    return ModelTier.model_validate(tier_object(name, **changes))


IDLE = {
    "minReplicas": 0,
    "maxReplicas": 4,
    "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}],
    "idle": {"after": "30m", "holdTimeout": "5m", "maxHeld": 100},
}


def cold_tier(name: str = "small", **changes: Any) -> ModelTier:
    """A llama.cpp ModelTier that sleeps."""
    condition = {"type": "Cold", "status": "True", "reason": "Idle", "message": ""}
    status = {"desiredReplicas": 0, "conditions": [condition]}
    return tier(name, **merged({"scaling": IDLE, "status": status}, changes))


def vllm_tier(name: str = "large", **changes: Any) -> ModelTier:
    """A vLLM ModelTier on the GPU pool, from the hub."""
    spec = {
        "llamaCpp": None,
        "model": {"uri": "hf://acme/large-7b", "revision": "main"},
        "vllm": {"maxModelLen": 8192, "maxNumSeqs": 64},
        "nodePool": {"name": "gpu-l4", "count": 2},
    }
    return tier(name, **merged(spec, changes))


def external_tier(name: str = "frontier", **changes: Any) -> ModelTier:
    """A tier served by somebody else's API."""
    external = {
        "baseURL": "https://api.example.com/v1",
        "model": "big-1",
        "apiKeySecretRef": {"name": "frontier", "key": "token"},
        "caConfigMapRef": {"name": "frontier-ca", "key": "ca.crt"},
    }
    return tier(name, **merged({"model": None, "llamaCpp": None, "external": external}, changes))


EXISTING = {
    "engine": "vllm",
    "serviceRef": {"name": "qwen", "port": 8000},
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen"},
}


def existing_object(name: str = "small", **changes: Any) -> dict[str, Any]:
    """A ModelTier over Deployment qwen and its Service, which somebody else made."""
    model = {"uri": None, "servedName": "Qwen/Qwen2.5-7B-Instruct"}
    return tier_object(name, **merged({"model": model, "llamaCpp": None, "existing": EXISTING}, changes))


def existing_tier(name: str = "small", **changes: Any) -> ModelTier:
    """The same, parsed."""
    return ModelTier.model_validate(existing_object(name, **changes))


def cascade_object(name: str = "chat", **changes: Any) -> dict[str, Any]:
    """A Cascade over small and frontier; `changes` go into its spec, `status`, `annotations` and `created` aside."""
    status = changes.pop("status", {})
    annotations = changes.pop("annotations", {})
    created = changes.pop("created", "2026-01-01T00:00:00Z")
    spec = {
        "modelName": "chat",
        "tiers": [
            {"name": "small", "tierRef": {"name": "small"}, "timeout": "20s"},
            {"name": "frontier", "tierRef": {"name": "frontier"}, "timeout": "60s"},
        ],
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Cascade",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name}",
            "generation": 1,
            "resourceVersion": "100",
            "creationTimestamp": created,
            "annotations": annotations,
        },
        "spec": merged(spec, changes),
        "status": status,
    }


def cascade(name: str = "chat", **changes: Any) -> Cascade:
    """A Cascade over small and frontier."""
    return Cascade.model_validate(cascade_object(name, **changes))


def deployment_object(
    *, replicas: int = 1, ready: int = 1, conditions: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The Deployment of tier small as the API server shows it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "small-tier",
            "namespace": NAMESPACE,
            "generation": 1,
            "uid": "uid-of-deployment",
            "resourceVersion": "7",
        },
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": ready,
            "conditions": conditions or [],
        },
    }


def pod_object(**status: Any) -> dict[str, Any]:
    """A pod of tier small with this status."""
    labels = meta.tier_labels(tier())
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "small-tier-1",
            "namespace": NAMESPACE,
            "labels": labels,
            "uid": "uid-of-pod",
            "resourceVersion": "8",
        },
        "status": status,
    }
