"""What is not simulated is said by name."""

from typing import Any

import pytest

from modelfleet.sim import unsimulated
from tests.make import cascade, external_tier, tier

CALM = {"metrics": [{"name": "busy", "type": "Concurrency", "target": 4}], "maxReplicas": 4}
CHAT = cascade(tiers=[{"name": "small", "tierRef": {"name": "small"}}])
QUERY = {"name": "mine", "type": "PromQL", "query": "x", "target": "4"}


@pytest.mark.parametrize(
    ("scaling", "says"),
    [
        pytest.param(CALM, [], id="all of it is"),
        pytest.param({**CALM, "metrics": [*CALM["metrics"], QUERY]}, ["metric mine of tier small: no query is answered here, the others decide"], id="a query beside others"),  # type: ignore[misc]
        pytest.param({**CALM, "metrics": [QUERY]}, ["metric mine of tier small: no query is answered here, the tier stays as it is"], id="a query alone"),
        pytest.param({**CALM, "fallback": {"behavior": "AtLeast", "replicas": 2}}, ["fallback of tier small: metrics are lost only where --blind says so"], id="fallback"),
    ],
)  # fmt: skip
def test_of_a_tier(scaling: dict[str, Any], says: list[str]):
    assert unsimulated.of(CHAT, {"small": tier("small", scaling=scaling)}) == says


def test_of_a_cascade():
    steps = [{"name": "api", "tierRef": {"name": "api"}, "timeout": "20s"}]
    found = cascade(
        tiers=steps, overflow={"when": ["Cold"]}, clientChoice=["Tier"], limits={"maxCostPerRequest": "0.05"}
    )
    lines = unsimulated.of(found, {"api": external_tier(external={"tokensPerMinute": 5})}, others=["code"])

    assert [line.partition(":")[0] for line in lines] == [
        "tokensPerMinute of tier api",
        "limits.maxCostPerRequest of Cascade chat",
        "clientChoice of Cascade chat",
        "overflow of Cascade chat",
        "timeout of tier api in Cascade chat",
        "Cascade code",
    ]


def test_a_tier_in_two_places_is_simulated_as_two():
    steps = [{"name": name, "tierRef": {"name": "small"}} for name in ("first", "again")]

    assert list(unsimulated.of(cascade(tiers=steps), {"small": tier("small")})) == [
        "tier small in 2 places of Cascade chat: each place gets replicas of its own"
    ]


def test_the_operator_gets_no_query_that_nobody_answers_and_the_profile_that_is_simulated():
    document: Any = {
        "kind": "ModelTier",
        "metadata": {"name": "small"},
        "spec": {"existing": {"engine": "vllm", "slots": 64}, "scaling": {**CALM, "metrics": [*CALM["metrics"], QUERY]}},  # type: ignore[misc]
    }  # fmt: skip
    spec = unsimulated.without(document, {})["spec"]
    planned = unsimulated.without(
        {**document, "spec": {"vllm": {}, "scaling": {"maxReplicas": 3}}}, {"small": "8b-h100"}
    )

    assert spec["vllm"] == {"maxNumSeqs": 64}
    assert "existing" not in spec
    assert [metric["name"] for metric in spec["scaling"]["metrics"]] == ["busy"]
    assert planned["spec"]["scaling"]["profile"] == "8b-h100"
    assert "existing" in document["spec"]  # it is not ours to change
