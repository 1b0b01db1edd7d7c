"""Which steps of a cascade one request may use, and where it enters them.

A request that nothing restricts may use all.  Each rule takes steps away and says so when it has taken the last one.
Whatever a request goes through later (retries, fallback, escalation, overflow), it knows no other steps than these.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelfleet.api.route_table import CascadeRoute
from modelfleet.route import context, data_policy, refusal
from modelfleet.route.keys import ApiKey
from modelfleet.route.purse import Purse
from modelfleet.route.refusal import Refused

TIER: Final = b"x-modelfleet-tier"
MIN_TIER: Final = b"x-modelfleet-min-tier"
_STEERING: Final = frozenset({TIER, MIN_TIER})

_ENDLESS: Final = 1 << 62

Fields = Mapping[str, Any]
Headers = Sequence[tuple[bytes, bytes]]  # names in lower case
Places = tuple[int, ...]  # of steps in their cascade, rising: the cheapest is 0


class Course:
    """The rules of one cascade, ready to be asked for each request."""

    __slots__ = (
        "_data_header",
        "_fits_always",
        "_inside",
        "_names",
        "_route",
        "_weighs_answers",
        "everywhere",
    )

    def __init__(self, route: CascadeRoute) -> None:
        self._route = route
        self._names = [tier.name for tier in route.tiers]
        self._inside = frozenset(place for place, tier in enumerate(route.tiers) if tier.external is None)
        self._data_header = route.data.header.encode() if route.data else b""
        contexts = [tier.context_tokens for tier in route.tiers if tier.context_tokens is not None]
        self._fits_always = min(contexts, default=_ENDLESS)
        self._weighs_answers = any(tier.engine == "vllm" and tier.context_tokens for tier in route.tiers)
        self.everywhere: Places = tuple(range(len(route.tiers)))

    def places(self, headers: Headers, fields: Fields, body_bytes: int, key: ApiKey | None = None) -> Places:
        """The steps that a request may use: `everywhere` itself where nothing restricts it.

        `fields`: what is in its body, `body_bytes`: how long that is, `key`: whose it is.
        Raises Refused when no step is left, or when the request asks for what is not allowed.
        """
        places = self.everywhere
        if key is not None and key.tiers is not None:
            places = tuple([place for place in places if self._names[place] in key.tiers])
            if not places:
                raise Refused(refusal.TIER_FORBIDDEN)
        if _steered(headers):
            places = self._chosen(places, headers)
        if self._route.data is not None:
            places = self._staying(places, headers, key)
        answer = context.answer_tokens(fields) if self._weighs_answers else 0
        if (purse := self.purse(fields, body_bytes)) is not None:
            places = self._payable(places, purse)
        if body_bytes // context.BYTES_PER_TOKEN_MIN + answer > self._fits_always:
            places = self._fitting(places, fields)
        return places

    def start(self, places: Places, drawn: int) -> int:
        """Where a request enters that may use these places, when its draw by weight is `drawn`."""
        return entry(places, drawn)

    def _chosen(self, places: Places, headers: Headers) -> Places:
        """What the client chose: one tier and no other, or none that is cheaper than one."""
        route = self._route
        tier = self._asked(TIER, headers, allowed=route.choose_tier)
        floor = self._asked(MIN_TIER, headers, allowed=route.choose_floor)
        if floor is not None:
            places = tuple([place for place in places if place >= floor])
        if tier is not None:
            if floor is not None and tier < floor:
                raise Refused(refusal.tier_below_floor(self._names[tier], self._names[floor]))
            places = (tier,) if tier in places else ()
        if not places:
            raise Refused(refusal.TIER_FORBIDDEN)  # to its key: the cascade has it
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

    def _staying(self, places: Places, headers: Headers, key: ApiKey | None) -> Places:
        """The tiers of the cluster alone, unless the data may leave it: what its client always sends, and this."""
        rule = self._route.data
        assert rule is not None
        named = data_policy.classes(headers, self._data_header)
        if key is not None and key.data_class is not None:
            named |= {key.data_class.lower()}
        found = data_policy.verdict(rule, named)
        if found == data_policy.ALLOW:
            return places
        if found == data_policy.REJECT:
            raise Refused(refusal.unknown_data_class(rule.header, sorted({*rule.local_only, *rule.allowed})))
        inside = tuple([place for place in places if place in self._inside])
        if not inside:
            raise Refused(refusal.DATA_STAYS)
        return inside

    def purse(self, fields: Fields, body_bytes: int) -> Purse | None:
        """What a request may cost; None: there is no limit."""
        limit = self._route.max_cost_microdollars
        return None if limit is None else Purse(limit, fields, body_bytes)

    def _payable(self, places: Places, purse: Purse) -> Places:
        """The tiers that the request could pay for if it asked no other."""
        tiers = self._route.tiers
        found = tuple([place for place in places if purse.covers(tiers[place].price)])
        if not found:
            least = min(purse.bound(tiers[place].price) for place in places)
            raise Refused(refusal.too_expensive(least, limit=self._route.max_cost_microdollars or 0.0))
        return places if len(found) == len(places) else found

    def _fitting(self, places: Places, fields: Fields) -> Places:
        """The tiers whose context may hold the request."""
        tiers = self._route.tiers
        prompt, answer = context.prompt_tokens_min(fields), context.answer_tokens(fields)
        found = tuple([place for place in places if context.fits(tiers[place], prompt=prompt, answer=answer)])
        if not found:
            longest = max(tiers[place].context_tokens or 0 for place in places)
            raise Refused(refusal.context_too_short(longest, prompt=prompt, answer=answer))
        return places if len(found) == len(places) else found


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
