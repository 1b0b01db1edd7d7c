"""What one request may cost, over all its attempts and tiers.

The cost of an attempt is bounded before it begins: every byte of the body counts as a token, which is more than any
tokenizer makes of it, and the answer as long as the client lets it become.  The bound stays taken from the purse
until the engine has told its tokens, or has answered in a way that nobody is charged for.  So the sum holds whatever
fails, as long as requests say how long an answer may become: where they do not, only prompts are counted.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.api.route_table import Price
from modelfleet.route import context

# What a chat template adds to a conversation, beyond what its JSON takes in bytes.
TEMPLATE_TOKENS = 256
# An image is a short URL in the body, and many tokens for its model.  APIs differ: this is a high-detail one.  What
# else is no text (sound, a file, a film) counts as one image.
IMAGE_TOKENS = 4096
_NUMBER_MAX = 1e15  # what is more counts as this: no limit lets it through

# Outcomes that cost nothing: the request did not arrive, or was turned away.
_FREE = frozenset({
    "Refused", "ConnectTimeout", "TLS", "AddressDenied", "NoSocket", "RateLimited", "Status4xx", "Status5xx",
    "TooLong", "Unauthorized", "NotFound", "Unsupported", "UnsupportedInput", "Redirect",
})  # fmt: skip


class Purse:
    """The money of one request, in micro-dollars: a price of one dollar per million tokens is one per token."""

    __slots__ = ("_answer", "_held", "_limit", "_prompt", "_spent")

    def __init__(self, limit: float, fields: Mapping[str, Any], body_bytes: int) -> None:
        self._limit = limit
        self._prompt = body_bytes + TEMPLATE_TOKENS + IMAGE_TOKENS * context.media(fields)
        self._answer = _answer(fields) * _answers(fields)
        self._spent = 0.0
        self._held = 0.0  # for the attempt under way; a part of what is spent

    def bound(self, price: Price | None) -> float:
        """What an attempt costs at most; a tier without a price costs nothing."""
        if price is None:
            return 0.0
        return self._prompt * price.input_microdollars + self._answer * price.output_microdollars

    def covers(self, price: Price | None, *, after: Price | None = None) -> bool:
        """Whether there is enough for an attempt at this price, and for one before it."""
        return self._spent + self.bound(after) + self.bound(price) <= self._limit

    def began(self, price: Price | None) -> None:
        """An attempt begins: all that it can cost is taken."""
        self._held = self.bound(price)
        self._spent += self._held

    def told(self, price: Price | None, used: tuple[int, int]) -> None:
        """The engine of the attempt has told its input and output tokens."""
        if price is not None:
            self._settle(used[0] * price.input_microdollars + used[1] * price.output_microdollars)

    def ended(self, outcome: str) -> None:
        """The attempt is over.  What it cost is not known, unless that is nothing."""
        if outcome in _FREE:
            self._settle(0.0)
        self._held = 0.0

    def _settle(self, cost: float) -> None:
        self._spent += cost - self._held
        self._held = 0.0


def _answer(fields: Mapping[str, Any]) -> float:
    """How long an answer can become.  Of several limits engines know one or the other: the largest one counts."""
    return max(_number(fields.get(name)) for name in ("max_tokens", "max_completion_tokens", "n_predict"))


def _answers(fields: Mapping[str, Any]) -> float:
    """How many are made: for each prompt `n`, or the `best_of` so many."""
    asked = max(1.0, _number(fields.get("n")), _number(fields.get("best_of")))
    return asked * len(context.prompts(fields))


def _number(value: object) -> float:
    """What an engine may read as a number: some take 1e3 and "1000" for 1000.  0 for what is none, or less."""
    if not isinstance(value, int | float | str):
        return 0.0
    try:
        found = float(value)
    except ValueError:
        return 0.0
    except OverflowError:
        return _NUMBER_MAX
    return min(found, _NUMBER_MAX) if found > 0 else 0.0
