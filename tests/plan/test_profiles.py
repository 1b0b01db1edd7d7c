"""How fast a tier's engine is: its profile, wherever it is told, and what the tier allows."""

from typing import Any

import pytest

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.plan.profiles import PROFILES, engine_of, profile
from tests.make import tier, vllm_tier

MINE = {
    "stepSeconds": 0.01,
    "stepSecondsPerSequence": 1e-5,
    "stepSecondsPerContextToken": 1e-8,
    "stepSecondsPerPromptToken": 1e-5,
    "sequencesMax": 64,
    "kvTokens": 1000,
}
SETTINGS = FleetSettings.model_validate(
    {"profiles": {"mine": MINE, "8b-h100": {**MINE, "stepSeconds": 0.02}}}
)

CASES: dict[str, tuple[dict[str, Any] | None, int | None]] = {
    "without scaling": (None, None),
    "without a profile": ({"maxReplicas": 4}, None),
    "one that nobody knows": ({"maxReplicas": 4, "profile": "none"}, None),
    "fewer slots than the profile's": ({"maxReplicas": 4, "profile": "mine"}, 4),
}


@pytest.mark.parametrize(("scaling", "want"), CASES.values(), ids=CASES)
def test_engine_of_a_tier(scaling: dict[str, Any] | None, want: int | None):
    found = engine_of(tier("small", scaling=scaling), SETTINGS)

    assert (found and found.sequences_max) == want


def test_more_slots_than_the_profile_has_are_not_believed():
    found = engine_of(
        vllm_tier("big", scaling={"maxReplicas": 4, "profile": "mine"}, vllm={"maxNumSeqs": 512}), SETTINGS
    )

    assert found is not None
    assert found.sequences_max == 64


def test_the_settings_go_before_what_the_operator_brings():
    ours = profile("8b-h100", SETTINGS)

    assert ours is not None
    assert ours.step_s == 0.02
    assert profile("8b-h100", FleetSettings()) == PROFILES["8b-h100"]
