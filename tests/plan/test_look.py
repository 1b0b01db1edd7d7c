"""What the planner is shown: leads from real starts, lengths from whoever answered, and who owes what."""

from dataclasses import replace

import pytest

from modelfleet.plan.look import TierFacts, planned_shares, tier_looks
from modelfleet.plan.sizing import Lengths

CALM = TierFacts(
    name="small",
    engine=None,
    slots=4,
    price=1.0,
    share=1.0,
    wanted=2,
    ready=2,
    starting_s=(),
    replicas_min=1,
    replicas_max=8,
    cold_starts_s=(),
    cold_start_s=120.0,
    prompt_tokens=400.0,
    output_tokens=100.0,
    answer_s=2.0,
)

LEADS = {
    "nothing started yet: as told": (CALM, 120.0),
    "two starts tell nothing": (replace(CALM, cold_starts_s=(30.0, 31.0)), 120.0),
    "late starts count": (replace(CALM, cold_starts_s=(30.0, 31.0, 29.0, 30.0, 61.0)), 60.0),
}


@pytest.mark.parametrize(("facts", "want"), LEADS.values(), ids=LEADS)
def test_lead(facts: TierFacts, want: float):
    assert tier_looks([facts], look_s=15.0)[0].lead_s == want


STARTING = {
    "a pod that starts is supply": ((30.0,), (), (1, 0)),
    "one that starts for ages is none": ((30.0, 500.0), (), (1, 1)),
    "one that starts for no longer than another did is supply": ((30.0, 500.0), (400.0,), (2, 0)),
    "one that starts for ages beside a slow one is none": ((30.0, 900.0), (400.0,), (1, 1)),
}


@pytest.mark.parametrize(("ages", "seen", "want"), STARTING.values(), ids=STARTING)
def test_starting(ages: tuple[float, ...], seen: tuple[float, ...], want: tuple[int, int]):
    (look,) = tier_looks([replace(CALM, starting_s=ages, cold_starts_s=seen)], look_s=15.0)

    assert (look.starting, look.stuck) == want


def test_the_requests_of_one_tier_say_how_long_those_of_the_next_are():
    silent = replace(CALM, name="big", prompt_tokens=None, output_tokens=None)

    small, big = tier_looks([CALM, silent], look_s=15.0)

    assert small.lengths == big.lengths == Lengths(400.0, 100.0)


SHARES = {
    "one tier does it all": (([1.0], [None], []), [1.0]),
    "targets as given": (([1.0, 0.0], [0.7, 0.3], []), [0.7, 0.3]),
    "no targets: as entries are set": (([0.8, 0.2], [None, None], []), [0.8, 0.2]),
    "a floor alone moves the rest together": (([0.6, 0.2, 0.2], [None, None, 0.4], []), [0.45, 0.15, 0.4]),
    "nobody enters before the last": (([0.0, 0.0, 1.0], [None, None, 0.5], []), [0.25, 0.25, 0.5]),
    "judged answers come again": (([1.0, 0.0], [None, None], [0.3]), [1.0, 0.3]),
    "a floor above what is passed on": (([1.0, 0.0], [0.6, 0.4], [0.3]), [1.0, 0.4]),
}


@pytest.mark.parametrize(("given", "want"), SHARES.values(), ids=SHARES)
def test_shares(given: tuple[list[float], list[float | None], list[float]], want: list[float]):
    initial, targets, escalated = given

    assert planned_shares(initial, targets=targets, escalated=escalated) == pytest.approx(want)
