"""What there is to tell of a request that is over: its line in the access log.

Nothing that a client wrote is in it but the names of a model and a path that exist: no prompts, answers or keys.
"""

from dataclasses import dataclass
from typing import Any

from modelfleet.api.route_table import CascadeRoute
from modelfleet.route.journey import Journey

# How a request can end.
ANSWERED = "Answered"
BROKEN = "Broken"  # after its first byte
CANCELLED = "Cancelled"  # its client left
REFUSED = "Refused"  # answered with an error

CLIENT_LEFT = 499  # no status was sent; the number that nginx uses
_SERVER_ERROR = 500
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended, and when."""

    result: str  # one of those above
    status: int  # that the client saw
    code: str | None  # in the error that it saw
    at_s: float

    @property
    def failed(self) -> bool:
        """It ended badly, and not by its client's doing."""
        return self.result == BROKEN or (self.result == REFUSED and self.status >= _SERVER_ERROR)


def line(
    end: End,
    *,
    path: bytes,
    key: str | None,
    stream: bool,
    route: CascadeRoute | None,
    journey: Journey | None,
) -> dict[str, Any]:
    """The fields of its line, in the order in which people read them.  Times are in seconds.

    `key`: the name of its API key's entry.  `route` and `journey`: None where it was refused at the door.
    """
    told: dict[str, Any] = {
        "path": path.decode("latin-1"),
        "model": route.model_name if route else None,
        "cascade": route.cascade if route else None,
        "key": key,
        "stream": stream,
        "result": end.result,
        "status": end.status,
        "error": end.code,
    }
    if route is None or journey is None:
        return told
    return told | _way(journey, end) | {"cost_usd": cost_usd(route, journey)}


def cost_usd(route: CascadeRoute, journey: Journey) -> float | None:
    """What its tokens cost, at the prices of their tiers; None where none of these has a price.

    An engine that was stopped before it told its prompt had the prompt that another one told.
    """
    prices = {tier.name: tier.price for tier in route.tiers if tier.price is not None}
    prompt, completion = journey.used
    parts = [(journey.tier, prompt, completion)]
    parts += [
        (one.tier, prompt if one.prompt is None else one.prompt, one.completion) for one in journey.spent
    ]
    paid = [(prices[tier], tokens_in, tokens_out) for tier, tokens_in, tokens_out in parts if tier in prices]
    if not paid:
        return None
    total = sum(
        price.input_microdollars * tokens_in + price.output_microdollars * tokens_out
        for price, tokens_in, tokens_out in paid
    )
    return round(total / _MICRO, 9)


def _way(journey: Journey, end: End) -> dict[str, Any]:
    prompt, completion = journey.tokens(*journey.used)
    opened_s, score = journey.opened_s, journey.score
    return {
        "tier": journey.tier or None,
        "attempts": journey.attempts,
        "escalations": journey.escalations,
        "overflow": journey.overflow or None,
        "outcomes": sorted(journey.outcomes),
        "score": None if score is None else round(score, 4),
        "accepted": not journey.below if end.result == ANSWERED else None,
        "input_tokens": prompt,
        "output_tokens": completion,
        "duration_s": round(end.at_s - journey.start_s, 6),
        "first_token_s": None if opened_s is None else round(opened_s - journey.start_s, 6),
        "request_bytes": journey.request_bytes,
        "answer_bytes": journey.answer_bytes,
    }
