from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import tier as desired
from modelfleet.errors import InvalidSpec
from tests.make import IDLE, SETTINGS, cold_tier, deployment_object, external_tier, tier, vllm_tier

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Golden = Callable[[str, Sequence[Any]], None]

GOLDEN = {
    "llama-cpp-from-volume": (tier(nodePool={"name": "cpu", "count": 1}), None, 1),
    "llama-cpp-from-hub": (
        tier(
            model={
                "uri": "hf://acme/tiny",
                "file": "tiny-q4.gguf",
                "credentialsSecretRef": {"name": "hub", "key": "token"},
                "cacheClaim": "downloads",
            },
            llamaCpp={"threads": 2, "args": ["--no-webui"], "env": [{"name": "HOME", "value": "/tmp"}]},
        ),
        COMMIT,
        2,
    ),
    "vllm-on-gpus": (vllm_tier(vllm={"args": ["--enable-prefix-caching"]}), COMMIT, 2),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_children(name: str, golden: Golden):
    spec, revision, replicas = GOLDEN[name]

    got = desired.tier(spec, SETTINGS, revision=revision, replicas=replicas)

    golden(name, got.wanted)


def test_an_external_tier_has_no_children():
    got = desired.tier(external_tier(), SETTINGS, revision=None, replicas=1)

    assert got.wanted == ()
    assert ("Deployment", "frontier-tier") in got.absent


def test_one_replica_has_no_disruption_budget():
    got = desired.tier(tier(), SETTINGS, revision=None, replicas=1)

    assert got.absent == (("PodDisruptionBudget", "small-tier"),)


def test_an_unknown_pool_names_the_known_ones():
    spec = tier(nodePool={"name": "gpu-h100", "count": 1})

    with pytest.raises(InvalidSpec, match=r"gpu-h100 is not in .* known pools: cpu, gpu-l4") as refused:
        desired.tier(spec, SETTINGS, revision=None, replicas=1)

    assert refused.value.reason == "NodePoolNotFound"


SCALING = {"minReplicas": 2, "maxReplicas": 6, "metrics": [{"name": "q", "type": "Queue", "target": 1}]}
SCALED = tier(scaling=SCALING, replicas=3)
FEW = tier(scaling=SCALING, replicas=1)
PINNED = {"modelfleet.dev/pin-replicas": "9"}
REPLICAS = {
    "no scaling: the spec's": (tier(replicas=4), None, 4),
    "no scaling: what runs does not count": (tier(replicas=4), deployment_object(replicas=9), 4),
    "observing: what was decided stays, whatever the bounds say now": (
        tier(scaling={**SCALING, "mode": "Observe"}, status={"desiredReplicas": 9}),
        deployment_object(replicas=9),
        9,
    ),
    "observing, nothing decided: what runs stays": (
        tier(scaling={**SCALING, "mode": "Observe"}),
        deployment_object(replicas=1),
        1,
    ),
    "observing, first creation: the spec's": (
        tier(replicas=3, scaling={**SCALING, "mode": "Observe"}),
        None,
        3,
    ),
    "no scaling, pinned: as pinned": (tier(replicas=4, annotations=PINNED), None, 9),
    "pinned: as pinned, beyond the bounds too": (
        tier(scaling=SCALING, annotations=PINNED, status={"desiredReplicas": 4}),
        deployment_object(replicas=2),
        9,
    ),
    "its node pool is full: the decision, below the minimum too": (
        tier(
            scaling=SCALING,
            status={
                "desiredReplicas": 1,
                "conditions": [
                    {"type": "ScalingActive", "status": "True", "reason": "PoolLimit", "message": ""}
                ],
            },
        ),
        deployment_object(replicas=2),
        1,
    ),
    "pinned to what is no number: the decision": (
        tier(
            scaling=SCALING,
            annotations={"modelfleet.dev/pin-replicas": "many"},
            status={"desiredReplicas": 4},
        ),
        deployment_object(replicas=2),
        4,
    ),
    "pinned and suspended: none": (tier(replicas=4, suspend=True, annotations=PINNED), None, 0),
    "suspended: none": (tier(replicas=4, suspend=True), deployment_object(replicas=4), 0),
    "first creation: the spec's": (SCALED, None, 3),
    "first creation below the minimum: the minimum": (FEW, None, 2),
    "nothing decided: what runs stays": (SCALED, deployment_object(replicas=5), 5),
    "nothing decided, too many run: the maximum": (SCALED, deployment_object(replicas=9), 6),
    "decided: the decision": (
        tier(scaling=SCALING, status={"desiredReplicas": 4}),
        deployment_object(replicas=2),
        4,
    ),
    "decided above the maximum: the maximum": (
        tier(scaling=SCALING, status={"desiredReplicas": 40}),
        None,
        6,
    ),
    "decided on nothing, while one runs: nothing": (
        cold_tier(),
        deployment_object(replicas=1),
        0,
    ),
    "a tier that may sleep, nothing decided: what runs stays": (
        tier(scaling=IDLE, replicas=1),
        deployment_object(replicas=2),
        2,
    ),
    "resumed: the last decision": (
        tier(scaling=SCALING, status={"desiredReplicas": 4}),
        deployment_object(replicas=0),
        4,
    ),
    "resumed without a decision: the spec's": (SCALED, deployment_object(replicas=0), 3),
}


@pytest.mark.parametrize(("spec", "observed", "want"), REPLICAS.values(), ids=REPLICAS)
def test_replicas(spec: ModelTier, observed: Any, want: int):
    assert desired.replicas(spec, observed) == want


@given(
    name=st.from_regex(r"\A[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?\Z"),
    replicas=st.integers(0, 5),
    labels=st.dictionaries(st.sampled_from("abc"), st.text("xyz", max_size=3)),
)
def test_building_twice_is_equal_and_changes_no_input(name: str, replicas: int, labels: dict[str, str]):
    spec = vllm_tier(name)
    pools = {
        **SETTINGS.node_pools,
        "gpu-l4": SETTINGS.node_pools["gpu-l4"].model_copy(update={"labels": labels}),
    }
    settings = SETTINGS.model_copy(update={"node_pools": pools})
    before = spec.model_dump_json(), settings.model_dump_json()

    first = desired.tier(spec, settings, revision=COMMIT, replicas=replicas)
    _scribble(first.wanted)
    second = desired.tier(spec, settings, revision=COMMIT, replicas=replicas)
    third = desired.tier(spec, settings, revision=COMMIT, replicas=replicas)

    assert second == third
    assert (spec.model_dump_json(), settings.model_dump_json()) == before


def _scribble(value: Any) -> None:
    """Change everything in the manifests, so that a part shared with the input shows."""
    if isinstance(value, dict):
        for inner in value.values():
            _scribble(inner)
        value["scribble"] = True
    elif isinstance(value, list | tuple):
        for inner in value:
            _scribble(inner)


def test_addresses():
    assert desired.endpoint(external_tier()) == "https://api.example.com/v1"
    assert desired.selector(tier()) == "app.kubernetes.io/component=engine,modelfleet.dev/tier=small-tier"
