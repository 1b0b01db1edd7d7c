from typing import Any

import pytest

from modelfleet.api.model_tier import ModelTier

MODEL = {"uri": "pvc://models/m.gguf"}
TIERS: dict[str, tuple[dict[str, Any], tuple[str, str, int | None]]] = {
    "llama.cpp answers to the object's name": ({"model": MODEL, "llamaCpp": {}}, ("llamaCpp", "small", 4)),
    "vLLM": ({"model": MODEL, "vllm": {}}, ("vllm", "small", 256)),
    "an engine with its own numbers": ({"model": MODEL, "llamaCpp": {"slots": 9}}, ("llamaCpp", "small", 9)),
    "a served name": ({"model": MODEL | {"servedName": "org/m"}, "vllm": {}}, ("vllm", "org/m", 256)),
    "an external API has no slots of ours": (
        {"external": {"baseURL": "https://x.com/v1", "model": "big-1"}},
        ("external", "big-1", None),
    ),
}


@pytest.mark.parametrize(("spec", "want"), TIERS.values(), ids=TIERS)
def test_what_a_tier_is(spec: dict[str, Any], want: tuple[str, str, int | None]) -> None:
    tier = ModelTier.model_validate({"metadata": {"name": "small"}, "spec": spec})

    assert (tier.engine, tier.served_name, tier.slots) == want


def test_status_has_nothing_until_somebody_looked() -> None:
    tier = ModelTier.model_validate({"metadata": {"name": "small"}, "spec": {"model": MODEL, "vllm": {}}})

    assert tier.status.model_dump(exclude_none=True, exclude_defaults=True) == {}
