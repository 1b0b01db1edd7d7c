import pytest

from modelfleet.api.fleet_settings import NodePool
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import engines
from modelfleet.desired.deployment import deployment, times
from tests.make import SETTINGS, tier, vllm_tier

TIMES = {
    "one is what it was": ("500m", 1, "500m"),
    "whole numbers": ("4", 2, "8"),
    "millicores": ("500m", 3, "1500m"),
    "binary units": ("16Gi", 2, "32Gi"),
    "fractions": ("0.5", 3, "1.5"),
    "an integer": (1, 8, "8"),
}


@pytest.mark.parametrize(("amount", "count", "want"), TIMES.values(), ids=TIMES)
def test_times(amount: int | str, count: int, want: str):
    assert times(amount, count) == want


def pod(spec: ModelTier, pool: NodePool | None = None) -> Manifest:
    engine = engines.of(spec)
    assert engine
    made = deployment(
        spec, engine=engine, pool=pool or NodePool(), settings=SETTINGS, revision=None, replicas=1
    )
    manifest: Manifest = made["spec"]["template"]["spec"]
    return manifest


def test_a_tiers_resources_replace_the_pools_entry_by_entry():
    spec = vllm_tier(resources={"requests": {"cpu": "6"}, "limits": {"memory": "40Gi"}})

    got = pod(spec, SETTINGS.node_pools["gpu-l4"])["containers"][0]["resources"]

    assert got == {
        "requests": {"cpu": "6", "memory": "32Gi"},
        "limits": {"memory": "40Gi", "nvidia.com/gpu": "2"},
    }


IMAGES = {
    "the tier's own": (vllm_tier(vllm={"image": "mine:1"}), "gpu-l4", "mine:1"),
    "the pool's": (vllm_tier(), "gpu-l4", "example/vllm-cuda:1"),
    "the operator's": (vllm_tier(), "cpu", "example/vllm:1"),
    "the operator's, of the other engine": (tier(), "gpu-l4", "example/llama.cpp:1"),
}


@pytest.mark.parametrize(("spec", "pool", "want"), IMAGES.values(), ids=IMAGES)
def test_image(spec: ModelTier, pool: str, want: str):
    assert pod(spec, SETTINGS.node_pools[pool])["containers"][0]["image"] == want


@pytest.mark.parametrize("spec", [tier(), vllm_tier(), tier(model={"uri": "hf://o/r"})])
def test_every_container_is_restricted(spec: ModelTier):
    made = pod(spec)

    assert made["securityContext"]["runAsNonRoot"]
    assert made["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not made["automountServiceAccountToken"]
    for container in [*made["containers"], *made.get("initContainers", [])]:
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
