"""The last look with other specs: what changes, and what no plan is made of."""

from typing import Any

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.model_tier import ModelTier
from modelfleet.plan.planner import Settings, TierLook, plan
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.record import Record
from modelfleet.plan.what_if import what_if
from tests.make import cascade, tier
from tests.plan.calm_look import CALM, STEADY

RECORD = Record("chat", ("chat",), CALM, plan(CALM, STEADY, Settings())[0], Settings())
SETTINGS = FleetSettings.model_validate(
    {
        "profiles": {
            "mine": {
                "stepSeconds": 0.01,
                "stepSecondsPerSequence": 1e-5,
                "stepSecondsPerContextToken": 1e-8,
                "stepSecondsPerPromptToken": 1e-5,
                "sequencesMax": 64,
                "kvTokens": 1000,
                "coldStart": "45s",
            }
        }
    }
)


def chat(share: int = 35, **spec: Any) -> Cascade:
    tiers = [
        {"name": "s", "tierRef": {"name": "small"}},
        {"name": "b", "tierRef": {"name": "big"}, "targetShare": share},
    ]
    return cascade("chat", **{"tiers": tiers, "slo": {"ttftP95": "2s"}, **spec})


def scaled(name: str = "small", **scaling: Any) -> dict[str, ModelTier]:
    return {name: tier(name, scaling={"maxReplicas": 6, **scaling})}


def tiers(wanted: Cascade | None = None, changed: dict[str, ModelTier] | None = None) -> dict[str, TierLook]:
    found = what_if(RECORD, wanted, changed or {}, SETTINGS)
    return {one.name: one for one in found.look.tiers}


def test_objectives_and_shares_are_those_of_the_file():
    found = what_if(RECORD, chat(share=10), {}, SETTINGS)

    assert found.look.goals.ttft_s == 2.0
    assert [one.share for one in found.look.tiers] == pytest.approx([0.9, 0.1])
    assert found.settings.pooled


def test_a_suspended_tier_has_no_share():
    found = tiers(chat(), {"big": tier("big", suspend=True, scaling={"maxReplicas": 6})})

    assert (found["small"].share, found["big"].share) == (1.0, 0.0)


def test_fixed_weights_share_no_peak():
    assert not what_if(RECORD, chat(weights={"mode": "Fixed"}), {}, SETTINGS).settings.pooled


def test_bounds_and_speed_of_a_tier():
    small = tiers(changed=scaled(minReplicas=2, profile="mine"))["small"]

    assert (small.replicas_min, small.replicas_max, small.lead_s) == (2, 6, 45.0)
    assert small.engine is not None
    assert small.engine.name == "mine"
    ours = tiers(changed=scaled(profile="8b-h100"))["small"].engine
    assert ours is not None
    assert (ours.step_s, ours.sequences_max) == (PROFILES["8b-h100"].step_s, 4)  # the tier's slots
    assert tiers(changed=scaled())["small"].engine is None


def test_a_tier_with_metrics_stays_as_it_is():
    own = scaled(metrics=[{"name": "busy", "type": "Concurrency", "target": 4}])
    small = tiers(changed=own)["small"]

    assert (small.replicas_min, small.replicas_max) == (4, 4)


NO_PLAN = {
    "no objective": (chat(slo=None), {}, "has no slo"),
    "a tier nobody has looked at": (None, scaled("huge"), "not planned with chat so far: huge"),
    "a profile nobody knows": (None, scaled(profile="9z"), "there is no profile 9z"),
    "a tier that is dropped": (
        chat(tiers=[{"name": "s", "tierRef": {"name": "small"}}]),
        {},
        "would not be named: big",
    ),
}


@pytest.mark.parametrize(("wanted", "changed", "says"), NO_PLAN.values(), ids=NO_PLAN)
def test_what_no_plan_is_made_of(wanted: Cascade | None, changed: dict[str, ModelTier], says: str):
    with pytest.raises(ValueError, match=says):
        what_if(RECORD, wanted, changed, SETTINGS)
