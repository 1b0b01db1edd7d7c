"""What a Cascade says of a decision about its weights, and of what was measured."""

from typing import Any

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.control.capacity.cascade_status import cascade_status, moves, shown_law
from modelfleet.control.capacity.status import changed
from modelfleet.plan.publish import Carries
from modelfleet.plan.service_level import WithinSlo
from modelfleet.plan.thresholds import Threshold
from modelfleet.plan.weights import WeightsVerdict
from tests.make import cascade

NOW_S = 1_780_000_000.0
TIERS = [
    {"name": "small", "tierRef": {"name": "small"}, "targetShare": 70},
    {"name": "big", "tierRef": {"name": "big"}},
]
CHAT = cascade(tiers=TIERS)
CALM = WeightsVerdict({"small": 900, "big": 100}, "LoadRestored", "There is room again at small")
ANSWERED = {"small": 70.0, "big": 30.0}


def said(of: Cascade = CHAT, verdict: WeightsVerdict = CALM, **how: Any) -> dict[str, Any]:
    known = {"before": dict(CALM.weights), "started": {"small": 90.0, "big": 10.0}, "answered": ANSWERED}
    return cascade_status(of, verdict, **{**known, "now_s": NOW_S, **how})


def again(found: dict[str, Any], **spec: Any) -> Cascade:
    """The Cascade as it is read once this was written."""
    return cascade(tiers=TIERS, status=found, **spec)


def test_each_tier_shows_what_is_known_of_it():
    found = said(thresholds={"small": Threshold(-0.5, short=False)}, law={"big": Carries(7200, 4)})

    assert found["weights"] == "small=900 big=100"
    assert found["tiers"] == [
        {
            "name": "small",
            "weight": 900,
            "startedShare": 900,
            "answeredShare": 700,
            "targetShare": 700,
            "threshold": "-0.5",
        },
        {
            "name": "big",
            "weight": 100,
            "startedShare": 100,
            "answeredShare": 300,
            "carriesPerHour": 7200,
            "underWay": 4,
        },
    ]


def test_what_nobody_could_be_asked_about_stays():
    before = again(said(law={"small": Carries(7200, 4), "big": Carries(3600, 2)}))

    after = said(before, started=None, answered=None, law=None)

    assert shown_law(before) == {"small": Carries(7200, 4), "big": Carries(3600, 2)}
    assert not changed(after, before)


def test_a_change_of_weights_is_told_in_moves_and_only_then():
    moved = said(before={"small": 1000, "big": 0})
    stays = said(again(moved))

    assert moved["lastDecision"] == stays["lastDecision"]
    assert (
        moved["lastDecision"]["message"] == "There is room again at small (small 1000 -> 900, big 0 -> 100)"
    )
    assert "lastDecision" not in said()


def test_moves_in_words():
    order = ["small", "big", "huge"]

    assert moves(order, None, {"small": 900, "big": 100, "huge": 0}) == "small 900, big 100, huge 0"
    assert moves(order, {"small": 900, "big": 100}, {"small": 800, "big": 100, "huge": 100}) == (
        "small 900 -> 800, huge 0 -> 100"
    )


MISSED = WithinSlo("False", "Missed", "93 % of the answers of the last hour")
OBJECTIVES: dict[str, tuple[WithinSlo | None, list[dict[str, str]], str]] = {
    "nothing was planned yet": (None, [], "Unknown/TooFewAnswers"),
    "the plan knows": (MISSED, [], "False/Missed"),
    "nothing was planned now: what was said": (
        None,
        [{"type": "WithinSLO", "status": "True", "reason": "Kept", "message": ""}],
        "True/Kept",
    ),
}


@pytest.mark.parametrize(("within", "had", "want"), OBJECTIVES.values(), ids=OBJECTIVES)
def test_objectives(within: WithinSlo | None, had: list[dict[str, str]], want: str):
    of = cascade(tiers=TIERS, slo={"ttftP95": "800ms"}, status={"conditions": had})

    (found,) = (one for one in said(of, within=within)["conditions"] if one["type"] == "WithinSLO")

    assert f"{found['status']}/{found['reason']}" == want


def test_a_condition_that_is_no_longer_ours_to_say_is_taken_away():
    planned = again(said(cascade(tiers=TIERS, slo={"ttftP95": "800ms"}), within=MISSED))

    after = said(planned)

    assert [one["type"] for one in after["conditions"]] == ["ShareOnTarget"]
    assert changed(after, planned)


def test_money_that_cannot_be_read_is_not_said_to_last():
    of = cascade(tiers=TIERS, budget={"window": "Day", "maxUSD": "50"})

    (found,) = (one for one in said(of)["conditions"] if one["type"] == "WithinBudget")

    assert (found["status"], found["reason"]) == ("Unknown", "NotCounted")
