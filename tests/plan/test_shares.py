import math

import pytest

from modelfleet.plan.shares import observed, on_target, publish

CASES = {
    "no targets: nothing to compare": ({"small": 1000}, {}, ("Unknown", "NoTargetShare")),
    "too few answers: cannot tell": ({}, {"small": 700}, ("Unknown", "TooFewAnswers")),
    "at target": ({"small": 700, "big": 300}, {"small": 700, "big": 300}, ("True", "OnTarget")),
    "five points off: still on target": ({"small": 650, "big": 350}, {"small": 700}, ("True", "OnTarget")),
    "beyond five points: off": ({"small": 640, "big": 360}, {"small": 700}, ("False", "OffTarget")),
    "a tier that never answered counts as none": ({"small": 1000}, {"big": 300}, ("False", "OffTarget")),
}


@pytest.mark.parametrize(("answered", "targets", "want"), CASES.values(), ids=CASES)
def test_on_target(answered: dict[str, int], targets: dict[str, int], want: tuple[str, str]):
    got = on_target(answered, targets)

    assert (got.status, got.reason) == want


def test_the_message_names_the_tiers_and_carries_no_number_that_ticks():
    one = on_target({"small": 900, "big": 100}, {"small": 700, "big": 300})
    other = on_target({"small": 950, "big": 50}, {"small": 700, "big": 300})

    assert one.message == other.message == "Answers above targetShare: small; below targetShare: big"


def test_a_tier_that_may_not_pass_on_enough_is_named_with_what_to_write():
    off = on_target({"small": 700, "big": 0}, {"small": 700, "big": 300}, short=["small"])

    assert off.message == (
        "Answers below targetShare: big; may not pass on as much as that needs: small (raise limits.maxEscalations, or "
        "let requests start at later tiers)"
    )


def test_shares_need_twenty_answers():
    assert observed({"small": 15, "big": 4}) == {}
    assert observed({"small": 15, "big": 5}) == {"small": 750, "big": 250}
    assert observed(None) == {}


def test_a_published_share_moves_only_when_it_is_news():
    shown = {"small": 700, "big": 300}

    assert publish({"small": 715, "big": 285}, shown) == shown
    assert publish({"small": 720, "big": 280}, shown) == {"small": 720, "big": 280}
    assert publish({"small": 700}, shown) == {"small": 700}
    assert publish({}, shown) == {}


@pytest.mark.parametrize("count", [math.nan, math.inf, -100.0])
def test_counts_without_sense_are_no_shares(count: float):
    assert observed({"small": 100.0, "big": count}) == {}
