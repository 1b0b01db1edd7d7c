"""Which steps of a cascade one request may use, and where it enters them.

A request that nothing restricts may use all.  Each rule takes steps away and says so when it has taken the last one.
Whatever a request goes through later (retries, fallback, escalation), it knows no other steps than the ones left here.
"""

from collections.abc import Sequence

from modelfleet.api.route_table import CascadeRoute
from modelfleet.route import refusal
from modelfleet.route.refusal import Refused

TIER = b"x-modelfleet-tier"
MIN_TIER = b"x-modelfleet-min-tier"
_STEERING = frozenset({TIER, MIN_TIER})

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case
Places = tuple[int, ...]  # of steps in their cascade, rising: the cheapest is 0


class Course:
    """The rules of one cascade, ready to be asked for each request."""

    __slots__ = ("_names", "_route", "everywhere")

    def __init__(self, route: CascadeRoute) -> None:
        self._route = route
        self._names = [tier.name for tier in route.tiers]
        self.everywhere: Places = tuple(range(len(route.tiers)))

    def places(self, headers: Headers) -> Places:
        """The steps that a request with these headers may use: `everywhere` itself where nothing restricts it.

        Raises Refused when there is none, or when the request asks for what is not allowed.
        """
        if not _steered(headers):
            return self.everywhere
        return self._chosen(self.everywhere, headers)

    def _chosen(self, places: Places, headers: Headers) -> Places:
        """What the client chose: one tier and no other, or none that is cheaper than one."""
        route = self._route
        tier = self._asked(TIER, headers, allowed=route.choose_tier)
        floor = self._asked(MIN_TIER, headers, allowed=route.choose_floor)
        if floor is not None:
            places = tuple([place for place in places if place >= floor])
        if tier is not None:
            if tier not in places:
                raise Refused(refusal.tier_below_floor(self._names[tier], self._names[places[0]]))
            places = (tier,)
        return places

    def _asked(self, header: bytes, headers: Headers, *, allowed: bool) -> int | None:
        """The place of the step that this header names; None where it is not sent."""
        values = {value.strip() for name, value in headers if name == header}
        if not values:
            return None
        if not allowed:
            raise Refused(refusal.choice_not_allowed(header.decode(), self._allowed()))
        for place, name in enumerate(self._names):
            if values == {name.encode()}:
                return place
        raise Refused(refusal.unknown_tier(header.decode(), self._names))

    def _allowed(self) -> list[str]:
        choices = ((TIER, self._route.choose_tier), (MIN_TIER, self._route.choose_floor))
        return [header.decode() for header, allowed in choices if allowed]


def entry(places: Places, drawn: int) -> int:
    """Where a request enters that may use these places, when its draw by weight is `drawn`.

    There, or at the nearest dearer place, as an answer that is better than asked for is no loss; else at the nearest
    cheaper one.  So the shares of the weights stay where they were as far as they can.
    """
    for place in places:
        if place >= drawn:
            return place
    return places[-1]


def _steered(headers: Headers) -> bool:
    # Not any(): a generator costs more than the loop, and this runs for every request.
    for name, _ in headers:  # noqa: SIM110
        if name in _STEERING:
            return True
    return False
