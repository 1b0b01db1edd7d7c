"""Tiers over workloads that exist already: what the API server takes or refuses, one story a row."""

from typing import Any

from tests.api.specs import VLLM, changed

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen"}
EXISTING: dict[str, Any] = {
    "model": {"servedName": "Qwen/Qwen2.5-7B-Instruct"},
    "existing": {"engine": "vllm", "serviceRef": {"name": "qwen", "port": 8000}, "scaleTargetRef": TARGET},
}
ROUTED_ONLY = changed(EXISTING, "existing.scaleTargetRef", None)
SCALED_EXISTING = EXISTING | {
    "scaling": {"maxReplicas": 4, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]}
}

ACCEPTED_EXISTING: dict[str, dict[str, Any]] = {
    "an existing workload": EXISTING,
    "an existing workload that is scaled": SCALED_EXISTING,
    "an existing workload that is never scaled": ROUTED_ONLY,
    "its Service has one port": changed(EXISTING, "existing.serviceRef.port", None),
    "its port has a name": changed(EXISTING, "existing.serviceRef.port", "http-api"),
    "its replicas take few requests": changed(EXISTING, "existing.slots", 8),
    "another kind is scaled": changed(
        EXISTING, "existing.scaleTargetRef", {"apiVersion": "kubeai.org/v1", "kind": "Model", "name": "m.1"}
    ),
    "it is priced and routed like any other": EXISTING
    | {
        "price": {"inputPerMillionTokens": "0.1", "outputPerMillionTokens": "0.2"},
        "routing": {"strategy": "PrefixAffinity"},
    },
    "it says what it runs on": EXISTING | {"nodePool": {"name": "gpu-l4", "count": 2}},
    "it gets no requests": EXISTING | {"suspend": True},
    "it may sleep": changed(
        changed(SCALED_EXISTING, "scaling.minReplicas", 0), "scaling.idle", {"after": "1h"}
    ),
}

REJECTED_EXISTING: dict[str, tuple[dict[str, Any], str]] = {
    "existing beside an engine of ours": (VLLM | {"existing": EXISTING["existing"]}, "exactly one engine"),
    "nobody said what its model is called": (
        changed(EXISTING, "model", None),
        "existing needs model.servedName: what the engine calls its model",
    ),
    "a model to fetch": (
        changed(EXISTING, "model.uri", "hf://Qwen/Qwen2.5-7B-Instruct"),
        "give model.servedName and nothing else of model",
    ),
    "a revision of what is not fetched": (
        changed(EXISTING, "model.revision", "v1"),
        "give model.servedName and nothing else of model",
    ),
    "resources for pods of others": (
        EXISTING | {"resources": {"limits": {"cpu": "1"}}},
        "an existing workload's pods are its owner's",
    ),
    "a rollout of pods of others": (
        EXISTING | {"rollout": {"drainTimeout": "5m"}},
        "an existing workload's pods are its owner's",
    ),
    "replicas of others by number": (
        EXISTING | {"replicas": 3},
        "an existing workload keeps the replicas it has: remove replicas",
    ),
    "scaling, and nobody said what": (
        changed(SCALED_EXISTING, "existing.scaleTargetRef", None),
        "scaling needs existing.scaleTargetRef, which says what to scale",
    ),
    "it scales itself": (
        changed(EXISTING, "existing.scaleTargetRef.apiVersion", "modelfleet.dev/v1alpha1"),
        "the operator scales its own objects by itself",
    ),
    "an API version with a kind in it": (
        changed(EXISTING, "existing.scaleTargetRef.apiVersion", "apps/v1/Deployment"),
        "must be a group and a version, such as apps/v1",
    ),
    "an engine that nobody here can ask": (
        changed(EXISTING, "existing.engine", "tgi"),
        'supported values: "vllm", "llamaCpp"',
    ),
    "port zero of a Service": (
        changed(EXISTING, "existing.serviceRef.port", 0),
        "port must be a port of the Service: its number, such as 8000, or its name",
    ),
    "a port's name in upper case": (
        changed(EXISTING, "existing.serviceRef.port", "HTTP"),
        "port must be a port of the Service: its number, such as 8000, or its name",
    ),
    "a Service of another namespace": (
        changed(EXISTING, "existing.serviceRef.name", "qwen.other"),
        "must be lower case letters, digits and -",
    ),
    "no slots": (changed(EXISTING, "existing.slots", 0), "should be greater than or equal to 1"),
}
