from typing import Any

import pytest

from modelfleet.desired import adopted
from tests.make import existing_tier

SCALING = {
    "minReplicas": 2,
    "maxReplicas": 4,
    "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}],
}
DECIDED = {"scaling": SCALING, "status": {"desiredReplicas": 3}}
RUNNING = 7

ROWS: dict[str, tuple[dict[str, Any], int]] = {
    "nothing decided: it keeps what runs, above the maximum too": ({"scaling": SCALING}, RUNNING),
    "decided: the decision": (DECIDED, 3),
    "decided beyond what the user allows since: the bound": (DECIDED | {"status": {"desiredReplicas": 9}}, 4),
    "never scaled: it keeps what runs": ({"status": {"desiredReplicas": 3}}, RUNNING),
    "suspended: others may use it": (DECIDED | {"suspend": True}, RUNNING),
    "mode Observe: it keeps what runs": (
        DECIDED | {"scaling": {**SCALING, "mode": "Observe"}},
        RUNNING,
    ),
    "pinned: the pin": (DECIDED | {"annotations": {"modelfleet.dev/pin-replicas": "6"}}, 6),
    "pinned, but nobody said what to scale": (
        {
            "existing": {"scaleTargetRef": None},
            "annotations": {"modelfleet.dev/pin-replicas": "6"},
        },
        RUNNING,
    ),
}


@pytest.mark.parametrize(("changes", "want"), ROWS.values(), ids=ROWS)
def test_replicas(changes: dict[str, Any], want: int):
    assert adopted.replicas(existing_tier(**changes), running=RUNNING) == want


ENDPOINTS = {
    "its port": (8000, "http://qwen.models.svc:8000/v1"),
    "the port of http": (80, "http://qwen.models.svc/v1"),
    "not known yet": (None, "http://qwen.models.svc/v1"),
}


@pytest.mark.parametrize(("port", "want"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_endpoint(port: int | None, want: str):
    existing = existing_tier().spec.existing
    assert existing is not None

    assert adopted.endpoint(existing, namespace="models", port=port) == want
