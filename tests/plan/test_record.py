"""A decision comes back from its text as it was."""

import pytest

from modelfleet.plan import record
from modelfleet.plan.fleet import Planned, Planning
from modelfleet.plan.group import Group
from modelfleet.plan.planner import Settings, plan
from modelfleet.plan.snapshot import Name
from tests.plan.calm_look import CALM, STEADY

OWNER, OTHER = Name("ns", "chat"), Name("ns", "bulk")
TIERS = (Name("ns", "small"), Name("ns", "big"))


def test_round_trip():
    found, state = plan(CALM, STEADY, Settings())
    planning = Planning(Group(OWNER, (OTHER, OWNER), TIERS, pooled=True), CALM, STEADY, Settings())
    kept = record.of(Planned(planning, found, state))

    again = record.decode(record.encode(kept))

    assert (again.owner, again.cascades) == ("chat", ("bulk", "chat"))
    assert again.plan == found
    assert plan(again.look, STEADY, again.settings) == (found, state)
    assert len(record.encode(kept)) < 16_384


@pytest.mark.parametrize("text", ["", "{}", '{"owner": 1}'])
def test_anything_else_is_refused(text: str):
    with pytest.raises(ValueError, match=":"):
        record.decode(text)
