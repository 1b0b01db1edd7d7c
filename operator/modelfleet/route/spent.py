"""What a router does with a Cascade whose budget is spent, until its window begins again.

StopEscalating: answers are sent as they are, and no request starts at a tier that is paid by the token; where all of
the others fail, it may still go there.  SkipTier: tiers that are paid by the token are not asked at all.  Reject:
nothing is.  A request that no other tier may answer is refused like one under Reject.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

from modelfleet.api.route_table import PERMILLE, REJECT, STOP_ESCALATING, BudgetSpent, CascadeRoute, TierRoute
from modelfleet.route import course, refusal
from modelfleet.route.course import Course, Fields, Headers, Places
from modelfleet.route.keys import ApiKey
from modelfleet.route.overflow import SATURATED
from modelfleet.route.refusal import Refused

Clock = Callable[[], float]  # Unix time


class SpentCourse(Course):
    """The rules of a Cascade whose budget is spent."""

    __slots__ = ("_free", "_spent", "_unix_s", "_until")

    def __init__(self, route: CascadeRoute, spent: BudgetSpent, unix_s: Clock) -> None:
        super().__init__(route)
        self._spent = spent
        self._unix_s = unix_s
        self._free = frozenset(() if spent.action == REJECT else _inside(route.tiers))
        self._until = datetime.fromtimestamp(spent.until_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def places(self, headers: Headers, fields: Fields, body_bytes: int, key: ApiKey | None = None) -> Places:
        places = super().places(headers, fields, body_bytes, key)
        free = self._among(places)
        if not free:
            left_s = self._spent.until_s - self._unix_s()
            raise Refused(refusal.budget_spent(self._until, left_s))
        return places if self._spent.action == STOP_ESCALATING or len(free) == len(places) else free

    def start(self, places: Places, drawn: int) -> int:
        return course.entry(self._among(places), drawn)

    def _among(self, places: Places) -> Places:
        return tuple([place for place in places if place in self._free])


def course_of(route: CascadeRoute, unix_s: Clock) -> Course:
    """The rules of a Cascade."""
    return Course(route) if route.spent is None else SpentCourse(route, route.spent, unix_s)


def obeyed(routes: Sequence[CascadeRoute], now_s: float) -> list[CascadeRoute]:
    """The routes as they are to be followed now; a window that is over holds nobody back."""
    return [_obeyed(route, now_s) for route in routes]


def until_s(routes: Sequence[CascadeRoute]) -> float:
    """When the first of these has its money again."""
    return min((route.spent.until_s for route in routes if route.spent is not None), default=inf)


def _obeyed(route: CascadeRoute, now_s: float) -> CascadeRoute:
    spent = route.spent
    if spent is None:
        return route
    if now_s >= spent.until_s:
        return replace(route, spent=None)
    inside = _inside(route.tiers)
    if spent.action == REJECT or not inside:
        return route
    weights = [tier.weight_permille if place in inside else 0 for place, tier in enumerate(route.tiers)]
    if not any(weights):
        weights[inside[0]] = PERMILLE
    tiers = [replace(tier, weight_permille=weight) for tier, weight in zip(route.tiers, weights, strict=True)]
    followed = replace(route, tiers=tuple(tiers))
    if spent.action != STOP_ESCALATING:
        return followed
    # To be busy is no outage: with fewer replicas, what overflows would be what the budget is to save.
    rule = route.overflow
    rule = None if rule is None else replace(rule, when=tuple([why for why in rule.when if why != SATURATED]))
    return replace(followed, max_escalations=0, overflow=rule)


def _inside(tiers: Sequence[TierRoute]) -> Places:
    return tuple([place for place, tier in enumerate(tiers) if tier.external is None])
