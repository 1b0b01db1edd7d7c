"""The user's own objects as a fleet to simulate."""

from typing import Any

import pytest
import yaml

from modelfleet.sim.fleet import Slo
from modelfleet.sim.scenario import BadScenario, read

TIERS = """
kind: ModelTier
metadata: {name: llama-8b, annotations: {modelfleet.dev/profile: 8b-h100}}
spec:
  model: {uri: "hf://o/m"}
  vllm: {}
  replicas: 2
  scaling: {minReplicas: 1, maxReplicas: 6, metrics: [{name: busy, type: Concurrency, target: 64}]}
---
kind: ModelTier
metadata: {name: llama-70b, annotations: {modelfleet.dev/profile: 70b-h100-tp4}}
spec: {model: {uri: "hf://o/m"}, vllm: {}, nodePool: {name: h100, count: 4}, replicas: 3}
"""
CASCADE = """
kind: Cascade
metadata: {name: chat}
spec:
  modelName: chat
  tiers:
  - {name: small, tierRef: {name: llama-8b}, weight: {initial: 3}, accept: {signal: MeanLogprob, threshold: "-0.5"}}
  - {name: big, tierRef: {name: llama-70b}, weight: {initial: 1}, targetShare: 30}
"""


def documents(*texts: str) -> list[Any]:
    return [document for text in texts for document in yaml.safe_load_all(text)]


def test_tiers_and_shares_are_those_of_the_objects():
    found, shares = read(documents(TIERS, CASCADE), prices={"llama-70b": 9.5}, cold_start_s=60.0)
    small, big = found.tiers

    assert (small.engine.name, small.gpus, small.replicas_start, small.replicas_min, small.replicas_max) == (
        "8b-h100", 1, 2, 1, 6,
    )  # fmt: skip
    assert (big.engine.name, big.gpus, big.replicas_min, big.replicas_max) == ("70b-h100-tp4", 4, 3, 3)
    assert (big.usd_per_replica_hour, big.cold.median_s) == (9.5, 60.0)
    assert shares == (0.75, 0.25)
    assert found.share_floor == 0.3
    assert found.thresholds == (-0.5, None)


KEPT = {
    "nobody says": ("", {}, Slo(1.0, 0.05)),
    "the Cascade says one": ("  slo: {ttftP95: 800ms}\n", {}, Slo(0.8, 0.05)),
    "the command line goes before it": (
        "  slo: {ttftP95: 800ms, itlP95: 40ms}\n",
        {"ttft_s": 2.0},
        Slo(2.0, 0.04),
    ),
}


@pytest.mark.parametrize(("spec", "told", "want"), KEPT.values(), ids=KEPT)
def test_what_is_to_be_kept(spec: str, told: dict[str, float], want: Slo):
    found, _ = read(documents(TIERS, CASCADE + spec), **told)  # type: ignore[arg-type]  # all of them seconds

    assert found.slo == want


def test_the_profile_of_a_tier_is_what_it_is_planned_with():
    planned = TIERS.replace("metrics: [{name: busy, type: Concurrency, target: 64}]", "profile: 3b-h100")
    found, _ = read(documents(planned, CASCADE))

    assert [tier.engine.name for tier in found.tiers] == ["3b-h100", "70b-h100-tp4"]


OTHER = CASCADE.replace("name: chat}", "name: code}").replace("modelName: chat", "modelName: code")


@pytest.mark.parametrize(
    ("texts", "how", "says"),
    [
        pytest.param([TIERS], {}, "no file has a Cascade", id="no cascade"),
        pytest.param([CASCADE], {}, "names ModelTier 'llama-8b', which no file has", id="no tier"),
        pytest.param([TIERS, CASCADE, OTHER], {}, "--cascade with one of: chat, code", id="two cascades"),
        pytest.param([TIERS, CASCADE], {"cascade": "chta"}, "no Cascade 'chta'; there are: chat", id="a typo"),
        pytest.param(
            [TIERS, CASCADE], {"profiles": {"llama-8b": "8b"}}, "no profile '8b'; give --profile llama-8b=", id="a profile of no name"
        ),
        pytest.param(
            [TIERS.replace("annotations: {modelfleet.dev/profile: 8b-h100}", ""), CASCADE],
            {},
            "no profile says how fast it is; give --profile llama-8b=NAME or scaling.profile",
            id="nothing says how fast a tier is",
        ),
        pytest.param(
            [TIERS, CASCADE.replace(', threshold: "-0.5"', "")], {}, "simulate needs accept.threshold of tiers small", id="no threshold"
        ),
        pytest.param([TIERS.replace("maxReplicas: 6", "maxReplicas: x"), CASCADE], {}, "scaling.maxReplicas", id="a value that is none"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_says_what_to_write(texts: list[str], how: dict[str, Any], says: str):
    with pytest.raises(BadScenario) as caught:
        read(documents(*texts), **how)

    assert says in str(caught.value)
