"""A Cascade whose budget is spent: who may go where, and for how long."""

from dataclasses import replace

import pytest

from modelfleet.api.route_table import BudgetSpent, CascadeRoute, ExternalTarget, OverflowRule, TierRoute
from modelfleet.route import course
from modelfleet.route.keys import ApiKey
from modelfleet.route.refusal import Refused
from modelfleet.route.spent import course_of, obeyed, until_s

NOON = 1_795_348_800.0
API = ExternalTarget("https://api.example.com/v1", None, None)


def tier(name: str, weight: int, external: ExternalTarget | None = None) -> TierRoute:
    return TierRoute(name, f"{name}-mt", name, weight, 5.0, None if external else f"{name}-svc", external)


SMALL, BIG, GPT = tier("small", 600), tier("big", 300), tier("gpt", 100, API)
ROUTE = CascadeRoute("c", "chat", 8.0, 1024, (SMALL, BIG, GPT), max_escalations=2, choose_tier=True)


def spent(action: str, *tiers: TierRoute) -> CascadeRoute:
    return replace(ROUTE, tiers=tiers or ROUTE.tiers, spent=BudgetSpent(action, NOON))


def followed(route: CascadeRoute, now_s: float = NOON - 60) -> CascadeRoute:
    return obeyed([route], now_s)[0]


def test_without_a_spent_budget_nothing_changes():
    assert followed(ROUTE) is ROUTE
    assert type(course_of(ROUTE, lambda: NOON)) is course.Course
    assert until_s([ROUTE]) == float("inf")


@pytest.mark.parametrize("action", ["StopEscalating", "SkipTier", "Reject"])
def test_a_window_that_is_over_holds_nobody_back(action: str):
    assert followed(spent(action), now_s=NOON) == ROUTE
    assert until_s([ROUTE, spent(action)]) == NOON


WEIGHTS = {
    "the entries of an external tier go to the others": ((SMALL, BIG, GPT), [600, 300, 0]),
    "who has none else enters at the cheapest of ours": ((tier("api", 0, API), BIG, GPT), [0, 300, 0]),
    "even where it had no entries": ((replace(SMALL, weight_permille=0), tier("api", 1000, API)), [1000, 0]),
}


@pytest.mark.parametrize(("tiers", "want"), WEIGHTS.values(), ids=WEIGHTS)
def test_entries_move_to_ours(tiers: tuple[TierRoute, ...], want: list[int]):
    stopped, skipped = (followed(spent(action, *tiers)) for action in ("StopEscalating", "SkipTier"))

    for found in (stopped, skipped):
        assert [one.weight_permille for one in found.tiers] == want
    assert (stopped.max_escalations, skipped.max_escalations) == (0, 2)


def test_a_busy_tier_is_no_outage():
    rule = OverflowRule(("Cold", "Saturated", "Error"), 20)
    stopped, skipped = (
        followed(replace(spent(action), overflow=rule)) for action in ("StopEscalating", "SkipTier")
    )

    assert stopped.overflow == replace(rule, when=("Cold", "Error"))
    assert skipped.overflow == rule
    only = followed(replace(spent("StopEscalating"), overflow=OverflowRule(("Saturated",), 20)))
    assert only.overflow == OverflowRule((), 20)  # none would let failures go on without a bound


def places(
    route: CascadeRoute, headers: list[tuple[bytes, bytes]] | None = None, key: ApiKey | None = None
) -> object:
    """Where a request may go, or how it is refused."""
    try:
        return course_of(route, lambda: NOON - 90.5).places(headers or [], {}, 100, key)
    except Refused as err:
        return err.refusal.status, err.refusal.code, err.refusal.retry_after_s


DENIED = (429, "budget_spent", 91)
ONLY_GPT = [(b"x-modelfleet-tier", b"gpt")]
PLACES = {
    "StopEscalating: everywhere, where others fail": (spent("StopEscalating"), None, (0, 1, 2)),
    "SkipTier: to no external tier": (spent("SkipTier"), None, (0, 1)),
    "Reject: nowhere": (spent("Reject"), None, DENIED),
    "StopEscalating: who asks for the API alone is refused": (spent("StopEscalating"), ONLY_GPT, DENIED),
    "SkipTier: likewise": (spent("SkipTier"), ONLY_GPT, DENIED),
    "StopEscalating: nothing but APIs": (spent("StopEscalating", GPT), None, DENIED),
    "SkipTier: nothing but APIs": (spent("SkipTier", GPT), None, DENIED),
    "SkipTier: nothing but ours": (spent("SkipTier", SMALL, BIG), None, (0, 1)),
}


@pytest.mark.parametrize(("route", "headers", "want"), PLACES.values(), ids=PLACES)
def test_places(route: CascadeRoute, headers: list[tuple[bytes, bytes]] | None, want: object):
    assert places(route, headers) == want


def test_nobody_has_to_wait_longer_than_an_hour_to_ask_again():
    late = replace(ROUTE, spent=BudgetSpent("Reject", NOON + 86_400))

    assert places(late) == (429, "budget_spent", 3600)


def test_a_restricted_request_starts_at_one_of_ours_though_it_may_go_on():
    route = spent("StopEscalating")
    line = course_of(route, lambda: NOON)

    assert line.start((0, 2), drawn=1) == 0  # the nearest dearer one is the API
    assert course_of(ROUTE, lambda: NOON).start((0, 2), drawn=1) == 2
