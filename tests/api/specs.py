"""Specs that the API server takes, and ways to change one thing of them."""

import copy
from collections.abc import Mapping
from typing import Any

# Calm baselines; each row changes one thing.
LLAMA: dict[str, Any] = {"model": {"uri": "pvc://models/smollm2.gguf"}, "llamaCpp": {}}
VLLM: dict[str, Any] = {"model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct"}, "vllm": {}}
EXTERNAL: dict[str, Any] = {"external": {"baseURL": "https://api.example.com/v1", "model": "big-1"}}
SCALED: dict[str, Any] = LLAMA | {
    "scaling": {"maxReplicas": 4, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]}
}
SLEEPY: dict[str, Any] = LLAMA | {"scaling": {**SCALED["scaling"], "minReplicas": 0, "idle": {}}}
TIERS = [
    {"name": "small", "tierRef": {"name": "smollm2"}},
    {"name": "frontier", "tierRef": {"name": "gpt"}},
]
CASCADE: dict[str, Any] = {"modelName": "chat", "tiers": TIERS}


def changed(base: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`base` with `value` at a dotted path; numbers index lists, None removes."""
    out = copy.deepcopy(dict(base))
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = out
    for step in way:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return out


def metric(**of: Any) -> dict[str, Any]:
    return changed(SCALED, "scaling.metrics", [{"name": "m", **of}])


def weights(*of: Mapping[str, int] | None) -> dict[str, Any]:
    tiers = [
        {"name": f"t{i}", "tierRef": {"name": f"t{i}"}} | ({} if weight is None else {"weight": weight})
        for i, weight in enumerate(of)
    ]
    return {"modelName": "chat", "tiers": tiers}


def judged(threshold: str, *, last: bool = False, signal: str = "MeanLogprob") -> dict[str, Any]:
    rule = {"accept": {"signal": signal, "threshold": threshold}}
    tiers = [
        {"name": f"t{i}", "tierRef": {"name": f"t{i}"}} | (rule if last == bool(i) else {}) for i in range(2)
    ]
    return {"modelName": "chat", "tiers": tiers}


def unbarred(*of: int | None, judging: int = 1) -> dict[str, Any]:
    """Tiers with these target shares, the first of which judge without a threshold."""
    spec = shares(*of)
    for tier in spec["tiers"][:judging]:
        tier["accept"] = {"signal": "MeanLogprob"}
    return spec


def shares(*of: int | None) -> dict[str, Any]:
    tiers = [
        {"name": f"t{i}", "tierRef": {"name": f"t{i}"}} | ({} if share is None else {"targetShare": share})
        for i, share in enumerate(of)
    ]
    return {"modelName": "chat", "tiers": tiers}
