from typing import Any

import pytest

from modelfleet.api.meta import Condition, rfc3339
from modelfleet.diff.conditions import Finding, conditions, status_converged

EARLIER, NOW_S = "2026-01-01T00:00:00Z", 1_780_000_000.0
READY = Finding("Ready", "True", "Fine", "All is well")
BEFORE = Condition(type="Ready", status="True", reason="Other", message="", last_transition_time=EARLIER)


def times(before: list[Condition]) -> list[str]:
    made = conditions([READY], before, generation=3, now_s=NOW_S)
    return [each["lastTransitionTime"] for each in made]


def test_the_time_moves_only_with_the_status():
    assert times([]) == [rfc3339(NOW_S)]
    assert times([BEFORE]) == [EARLIER]
    assert times([BEFORE.model_copy(update={"status": "False"})]) == [rfc3339(NOW_S)]


def test_conditions_are_sorted_and_cut():
    long = Finding("Accepted", "False", "Why", "x" * 5000)

    made = conditions([READY, long], [], generation=3, now_s=NOW_S)

    assert [each["type"] for each in made] == ["Accepted", "Ready"]
    assert len(made[0]["message"]) == 1024
    assert made[1]["observedGeneration"] == 3


def status(*types: str, **fields: Any) -> dict[str, Any]:
    return {"conditions": [{"type": each, "status": "True"} for each in types], **fields}


CONVERGED = {
    "the same": (status("Ready"), status("Ready"), True),
    "theirs beside ours": (status("Ready", "ScalingActive"), status("Ready"), True),
    "ours that is over": (status("Ready", "Stalled"), status("Ready"), False),
    "ours that is new": (status("Ready"), status("Ready", "Stalled"), False),
    "never written": ({}, status("Ready"), False),
    "a tier that left the cascade": (
        status("Ready", tiers=[{"name": "a", "ready": True}, {"name": "b", "ready": True}]),
        status("Ready", tiers=[{"name": "a", "ready": True}]),
        False,
    ),
    "a tier that only the other loop names": (
        status("Ready", tiers=[{"name": "a", "ready": True}, {"name": "b", "weight": 1}]),
        status("Ready", tiers=[{"name": "a", "ready": True}]),
        True,
    ),
}


@pytest.mark.parametrize(("observed", "wanted", "want"), CONVERGED.values(), ids=CONVERGED)
def test_status_converged(observed: Any, wanted: Any, want: bool):  # noqa: FBT001  a column of the table
    assert status_converged(observed, wanted, types=["Ready", "Stalled"]) is want
