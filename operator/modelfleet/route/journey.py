"""What one request has been through, over all its tiers: for headers, the last comment of a stream, and usage."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from modelfleet.route.accept import Verdict


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of an answer that was not sent.  `prompt`: None where the engine was stopped before it could tell."""

    prompt: int | None
    completion: int
    tier: str = ""


class Journey:
    """Attempts, escalations, and what they cost."""

    __slots__ = (
        "answer_bytes", "attempts", "below", "escalations", "judged", "opened_s", "outcomes", "overflow",
        "request_bytes", "score", "spent", "start_s", "tier", "used",
    )  # fmt: skip

    def __init__(self, judged: bool = False, start_s: float = 0.0, request_bytes: int = 0) -> None:  # noqa: FBT001, FBT002 - a slot, set for every request
        self.start_s = start_s  # when the request was complete
        self.request_bytes = request_bytes
        self.attempts = 0
        self.tier = ""  # whose engine was asked last
        self.escalations = 0
        self.outcomes: set[str] = set()  # of attempts and waits, in one word each
        self.overflow = ""  # for which cause it left its tier; empty: it did not
        self.judged = judged  # some tier of the cascade has an accept rule: answers tell more
        self.score: float | None = None  # of the answer that is sent
        self.below = False  # it was not accepted, and sent because nothing better could be had
        self.spent: list[Spent] = []
        self.used = (0, 0)  # input and output tokens of the answer that was sent
        self.opened_s: float | None = None  # when the first event of a stream was sent
        self.answer_bytes = 0  # as its engine sent it

    def began(self, tier: str) -> None:
        """An engine of this tier is asked."""
        self.attempts += 1
        self.tier = tier

    def rejected(self, spent: Spent) -> None:
        """An answer was not good enough, and the request moves on."""
        self.spent.append(spent)
        self.escalations += 1
        self.score, self.below = None, False

    def took(self, verdict: Verdict) -> None:
        """The answer with this verdict is sent."""
        self.score = verdict.score
        self.below = not verdict.accepted

    def fields(self, tier: str) -> bytes:
        """The header lines that say where an answer comes from."""
        lines = b"x-modelfleet-tier: %b\r\nx-modelfleet-attempts: %d\r\n" % (tier.encode(), self.attempts)
        if self.overflow:
            lines += b"x-modelfleet-overflow: %b\r\n" % self.overflow.lower().encode()
        if self.judged:
            lines += b"x-modelfleet-escalations: %d\r\n" % self.escalations
            if self.score is not None:
                lines += b"x-modelfleet-score: %.4f\r\n" % self.score
            if self.below:
                lines += b"x-modelfleet-accepted: false\r\n"
        return lines

    def comment(self, tier: str) -> bytes:
        """The same as the last comment of a stream."""
        told = [f"tier={tier}", f"attempts={self.attempts}", f"escalations={self.escalations}"]
        if self.overflow:
            told.append(f"overflow={self.overflow.lower()}")
        if self.score is not None:
            told.append(f"score={self.score:.4f}")
        if self.below:
            told.append("accepted=false")
        return f": modelfleet {' '.join(told)}\n\n".encode()

    def whole(self, body: bytes, *, keep_logprobs: bool, fields: dict[str, Any] | None = None) -> bytes:
        """A whole answer as the client gets it: without what only we asked for, with the usage of all tiers.

        `fields`: what is in `body`, where it has been read already; it is used up.
        """
        if keep_logprobs and not self.spent:
            return body
        if fields:
            self._settle(fields, keep_logprobs=keep_logprobs)
            return orjson.dumps(fields)
        return _changed(body, lambda fields: self._settle(fields, keep_logprobs=keep_logprobs))

    def usage_event(self, data: bytes) -> bytes:
        """The event with this usage data, and the tokens of all tiers."""
        return b"data: %b\n\n" % _changed(data, lambda fields: self._settle(fields, keep_logprobs=True))

    def _settle(self, fields: dict[str, Any], *, keep_logprobs: bool) -> None:
        choices = fields.get("choices")
        for choice in choices if isinstance(choices, list) and not keep_logprobs else ():
            if isinstance(choice, dict) and "logprobs" in choice:
                choice["logprobs"] = None
        usage = fields.get("usage")
        if self.spent and isinstance(usage, dict):
            self._add(usage)

    def tokens(self, prompt: int, completion: int) -> tuple[int, int]:
        """Input and output tokens of all tiers.  `prompt`, `completion`: those of the answer that is sent."""
        # Where an engine could not tell, the prompt counts as long as it did in the end: it was the same text.
        prompt_all = prompt + sum(prompt if one.prompt is None else one.prompt for one in self.spent)
        return prompt_all, completion + sum(one.completion for one in self.spent)

    def _add(self, usage: dict[str, Any]) -> None:
        prompt_all, completion_all = self.tokens(
            _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        )
        usage.update(
            prompt_tokens=prompt_all,
            completion_tokens=completion_all,
            total_tokens=prompt_all + completion_all,
        )


def _changed(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
    if not isinstance(fields, dict):
        return data
    change(fields)
    return orjson.dumps(fields)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
