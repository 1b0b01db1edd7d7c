"""What a ModelTier says of a decision about its replicas."""

from dataclasses import replace
from typing import Any

import pytest

from modelfleet.api.model_tier import ModelTier
from modelfleet.control.capacity.status import changed
from modelfleet.control.capacity.tier_status import scaling_active, tier_status
from modelfleet.plan.learned import Start
from modelfleet.plan.rules import Verdict
from tests.make import cold_tier, existing_tier, external_tier, tier

NOW_S = 1_780_000_000.0
SCALING = {"maxReplicas": 4, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]}
SCALED = tier(scaling=SCALING)
STAYS = Verdict(2, "WithinTolerance", "busy 8 of 4 per replica", wish=2)
GROWS = replace(STAYS, replicas=3, reason="ConcurrencyAboveTarget")
HOLDS = replace(STAYS, reason="MetricsStale", message="No data", active=False)
PINNED = {"modelfleet.dev/pin-replicas": "3"}

ACTIVE: dict[str, tuple[ModelTier, Verdict | None, tuple[str, str]]] = {
    "metrics decide": (SCALED, STAYS, ("True", "FollowsMetrics")),
    "a plan decides": (tier(scaling={"maxReplicas": 4}), STAYS, ("True", "FollowsPlan")),
    "one metric is blind": (SCALED, replace(STAYS, unread=("ttft",)), ("True", "MetricsPartlyStale")),
    "its pool is full": (SCALED, replace(STAYS, reason="PoolLimit"), ("True", "PoolLimit")),
    "full, and one is blind": (
        SCALED,
        replace(STAYS, reason="PoolLimit", unread=("ttft",)),
        ("True", "PoolLimit"),
    ),
    "it sleeps": (cold_tier(), replace(STAYS, replicas=0, reason="Idle"), ("True", "Idle")),
    "nothing can be read": (SCALED, HOLDS, ("False", "MetricsStale")),
    "nobody asked for it": (tier(), None, ("False", "Disabled")),
    "a size by hand": (tier(annotations=PINNED), None, ("False", "Pinned")),
    "an API": (external_tier(), None, ("False", "NotScalable")),
    "somebody else's, not looked at": (existing_tier(scaling=SCALING), None, ("False", "NotLookedAt")),
    "somebody else's, scaled by theirs": (
        existing_tier(
            scaling=SCALING,
            status={"existing": {"unscalable": {"reason": "ScaledByHPA", "message": "hpa x"}}},
        ),
        None,
        ("False", "ScaledByHPA"),
    ),
}


@pytest.mark.parametrize(("of", "verdict", "want"), ACTIVE.values(), ids=ACTIVE)
def test_whether_the_load_decides(of: ModelTier, verdict: Verdict | None, want: tuple[str, str]):
    judged = scaling_active(of, verdict)

    assert (judged.status, judged.reason) == want


def said(of: ModelTier, verdict: Verdict | None, **how: Any) -> dict[str, Any]:
    return tier_status(of, verdict, **{"before": 2, "facts": "busy 11 of 4", "now_s": NOW_S, **how})


def test_the_source_of_the_load_is_named():
    assert scaling_active(SCALED, STAYS, "Direct").message.endswith("as routers and engines tell directly")
    assert scaling_active(SCALED, STAYS).message.endswith("as Prometheus tells")


def test_a_change_is_recorded_with_its_numbers_and_the_last_five_stay():
    of = SCALED
    for count in range(3, 10):
        found = said(of, replace(GROWS, replicas=count), before=count - 1)
        of = tier(scaling=SCALING, status=found)

    history = of.model_dump(by_alias=True)["status"]["scaleHistory"]
    assert [(one["from"], one["to"]) for one in history] == [(8, 9), (7, 8), (6, 7), (5, 6), (4, 5)]
    assert history[0]["message"] == "busy 8 of 4 per replica (busy 11 of 4)"
    assert history[0]["time"] == "2026-05-28T20:26:40Z"


def test_no_change_says_what_was_said_before():
    grown = tier(scaling=SCALING, status=said(SCALED, GROWS))
    again = said(grown, replace(STAYS, replicas=3), before=3, now_s=NOW_S + 60)

    assert again["lastScale"]["reason"] == "ConcurrencyAboveTarget"
    assert not changed(again, grown)


def test_the_first_look_without_data_is_not_told():
    calm = tier(scaling=SCALING, status=said(SCALED, STAYS))

    first = said(calm, HOLDS, first_blind_tick=True)["conditions"]
    second = said(calm, HOLDS)["conditions"]

    assert [one["reason"] for one in (*first, *second)] == ["FollowsMetrics", "MetricsStale"]
    assert second[0]["lastTransitionTime"] == "2026-05-28T20:26:40Z"


COLD = {
    "nothing runs": (0, False, False, "True/Idle"),
    "its first replica is on its way": (1, False, False, "True/WokenUp"),
    "it answers": (1, True, False, "False/Awake"),
    "it cannot start": (1, False, True, "False/CannotStart"),
}


@pytest.mark.parametrize(("replicas", "answers", "stuck", "want"), COLD.values(), ids=COLD)
def test_a_tier_that_may_sleep(*, replicas: int, answers: bool, stuck: bool, want: str):
    conditions = [{"type": "Cold", "status": "True", "reason": "Idle", "message": ""}]
    if stuck:
        conditions.append({"type": "Stalled", "status": "True", "reason": "OOMKilled", "message": ""})
    of = cold_tier(status={"conditions": conditions})

    found = said(of, replace(STAYS, replicas=replicas), before=1, answers=answers)["conditions"][-1]

    assert f"{found['status']}/{found['reason']}" == want


def test_what_is_only_observed_is_shown_and_taken_away_again():
    observed = said(SCALED, replace(HOLDS, instead=GROWS))
    shown = tier(scaling=SCALING, status=observed)

    assert observed["scaling"] == {
        "wouldBe": 3,
        "reason": "ConcurrencyAboveTarget",
        "message": "busy 8 of 4 per replica",
    }
    assert changed(said(shown, HOLDS), shown), "a field of ours that is not sent is removed"


def test_the_newest_start_is_told_by_what_it_waited_for():
    found = said(SCALED, STAYS, start=Start("uid", 1.0, 20.4, 30.0, 9.6))

    assert found["coldStart"] == {
        "scheduling": "1s",
        "image": "20s",
        "weights": "30s",
        "engine": "10s",
        "total": "61s",
    }
    assert said(tier(scaling=SCALING, status=found), STAYS)["coldStart"] == found["coldStart"]
