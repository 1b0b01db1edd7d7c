"""The user's own objects as a fleet to simulate."""

from typing import Any

import pytest
import yaml

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.sim.fleet import Hold, Slo
from modelfleet.sim.scenario import BadScenario, Told, read
from tests.sim.written import CASCADE, TIERS


def documents(*texts: str) -> list[Any]:
    return [document for text in texts for document in yaml.safe_load_all(text)]


def test_tiers_and_shares_are_those_of_the_objects():
    scenario = read(documents(TIERS, CASCADE), Told(prices={"llama-70b": 9.5}, cold_start_s=60.0))
    found = scenario.fleet
    small, big = found.tiers

    assert (small.engine.name, small.gpus, small.replicas_start, small.replicas_min, small.replicas_max) == (
        "8b-h100", 1, 2, 1, 6,
    )  # fmt: skip
    assert (big.engine.name, big.gpus, big.replicas_min, big.replicas_max) == ("70b-h100-tp4", 4, 3, 3)
    assert (big.usd_per_replica_hour, big.cold.median_s) == (9.5, 60.0)
    assert scenario.entry == (0.75, 0.25)
    assert scenario.cascade == "chat"
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
    scenario = read(documents(TIERS, CASCADE + spec), Told(**told))  # type: ignore[arg-type]  # all of them seconds

    assert scenario.fleet.slo == want


def test_the_profile_of_a_tier_is_what_it_is_planned_with():
    planned = TIERS.replace("metrics: [{name: busy, type: Concurrency, target: 64}]", "profile: 3b-h100")
    scenario = read(documents(planned, CASCADE))

    assert [tier.engine.name for tier in scenario.fleet.tiers] == ["3b-h100", "70b-h100-tp4"]


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
            [TIERS.replace("maxReplicas: 6", "maxReplica: 6"), CASCADE], {}, "spec.scaling.maxReplica: no such field; did you mean maxReplicas?", id="a field that is misspelt"
        ),
        pytest.param(
            [TIERS, CASCADE.replace("weight: {initial: 3}", "weights: {initial: 3}")], {}, "spec.tiers[0].weights: no such field; did you mean weight?", id="a field that nobody knows"
        ),
        pytest.param([TIERS.replace("kind: ModelTier", "kind: Modeltier"), CASCADE], {}, "there is no kind 'Modeltier'; there are: ModelTier, Cascade", id="a kind that is misspelt"),
        pytest.param([TIERS.replace("maxReplicas: 6", "maxReplicas: 0"), CASCADE], {}, "maxReplicas", id="bounds that cross"),
        pytest.param([TIERS.replace("minReplicas: 1", "minReplicas: 0"), CASCADE], {}, "minReplicas 0 needs idle: add idle: {} or", id="nothing runs, and nobody wakes it"),
        pytest.param([TIERS.replace("maxReplicas: 6", "maxReplicas: x"), CASCADE], {}, "spec.scaling.maxReplicas", id="a value that is none"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_says_what_to_write(texts: list[str], how: dict[str, Any], says: str):
    with pytest.raises(BadScenario) as caught:
        read(documents(*texts), Told(**how))

    assert says in str(caught.value)


SETTINGS = FleetSettings.model_validate({
    "nodePools": {"h100": {"pricePerHour": "2.5"}},
    "capacity": {"coldStart": "90s"},
    "profiles": {"mine": {"stepSeconds": 0.01, "stepSecondsPerSequence": 0, "stepSecondsPerContextToken": 0, "stepSecondsPerPromptToken": 0.00002, "sequencesMax": 64, "kvTokens": 100000}},
})  # fmt: skip


def test_settings_bring_prices_profiles_and_how_long_a_start_takes():
    named = TIERS.replace("modelfleet.dev/profile: 8b-h100", "modelfleet.dev/profile: mine")
    small, big = read(documents(named, CASCADE), Told(settings=SETTINGS)).fleet.tiers

    assert (small.engine.name, small.engine.kv_tokens) == ("mine", 100_000)
    assert big.usd_per_replica_hour == 10.0  # four units
    assert {small.cold.median_s, big.cold.median_s} == {90.0}


def test_a_replica_works_on_as_many_requests_as_its_tier_allows():
    few = TIERS.replace("  vllm: {}\n", "  vllm: {maxNumSeqs: 32}\n")

    assert [one.engine.sequences_max for one in read(documents(few, CASCADE)).fleet.tiers] == [32, 256]


def test_an_api_has_a_price_for_tokens_and_no_replicas():
    api = """
kind: ModelTier
metadata: {name: llama-70b}
spec:
  external: {baseURL: "https://api.example.com/v1", model: big, requestsPerMinute: 60}
  price: {inputPerMillionTokens: "0.15", outputPerMillionTokens: "0.60"}
"""
    scenario = read(documents(TIERS.split("---", maxsplit=1)[0], api, CASCADE))
    big = scenario.fleet.tiers[1]

    assert (big.external, big.usd_per_million_tokens, big.replicas_start) == (True, (0.15, 0.6), 0)
    assert "requestsPerMinute of tier llama-70b: the API takes all that is sent" in scenario.unsimulated


def test_a_tier_that_may_sleep_holds_requests_and_no_other_policy_sends_it_to_sleep():
    idle = TIERS.replace(
        "minReplicas: 1, maxReplicas: 6, metrics: [{name: busy, type: Concurrency, target: 64}]",
        "minReplicas: 0, maxReplicas: 6, profile: 8b-h100, idle: {after: 10m, holdTimeout: 90s, maxHeld: 7}",
    )
    small = read(documents(idle, CASCADE)).fleet.tiers[0]

    assert (small.hold, small.replicas_min) == (Hold(7, 90.0), 1)


def test_a_threshold_that_is_the_operators_to_choose_begins_open():
    scenario = read(documents(TIERS, CASCADE.replace(', threshold: "-0.5"', "")))

    assert scenario.fleet.thresholds == (-1000.0, None)
    assert len(scenario.fleet.questions) > 1000
    assert (
        "accept of tier small: its scores are made up (median -0.3); give yours with --scores"
        in scenario.unsimulated
    )
    assert scenario.controlled == ["metrics of tier llama-8b", "thresholds for targetShare of Cascade chat"]
