"""What became of one request, judged as a client would judge it."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

STREAM_END = b"data: [DONE]"
FINISHED = ("stop", "length")
_TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')


@dataclass(slots=True)
class Outcome:
    """One request.  `failure` is empty when the client got a whole answer."""

    stream: bool
    started_at_s: float = 0.0  # since the epoch
    status: int = 0  # HTTP status, 0 when none came
    tier: str = ""  # x-modelfleet-tier of the answer
    attempts: int = 0  # x-modelfleet-attempts of the answer
    ttft_s: float | None = None  # seconds to the first byte of the answer
    duration_s: float = 0.0
    tokens: int = 0  # of the answer, where it says so
    failure: str = ""
    text: str = field(default="", repr=False)

    @property
    def itl_s(self) -> float | None:
        """Mean seconds between two tokens of a stream; None where it is not known."""
        if not self.stream or self.ttft_s is None or self.tokens < 2:
            return None
        return (self.duration_s - self.ttft_s) / (self.tokens - 1)

    def within(self, *, ttft_s: float, itl_s: float) -> bool:
        """Whole, and in good time as far as that can be told."""
        in_time = self.ttft_s is not None and self.ttft_s <= ttft_s and (self.itl_s or 0.0) <= itl_s
        return not self.failure and in_time


def tokens_of(body: bytes) -> int:
    """How many tokens an answer says it has, a stream in its last event; 0 where it does not say."""
    found = _TOKENS.findall(body)
    return int(found[-1]) if found else 0


def judge_plain(body: bytes) -> tuple[str, str]:
    """(failure, text) of a whole chat completion."""
    try:
        choice = json.loads(body)["choices"][0]
        text = str(choice["message"]["content"] or "")
        reason = choice["finish_reason"]
    except (ValueError, KeyError, IndexError, TypeError) as err:
        return f"not a chat completion: {err!r}", ""
    return ("" if reason in FINISHED else f"finish_reason {reason!r}"), text


def judge_stream(body: bytes) -> tuple[str, str]:
    """(failure, text) of a streamed chat completion: it must finish, and must end with [DONE]."""
    text: list[str] = []
    reasons: list[str] = []
    lines = [line for line in body.split(b"\n") if line.startswith(b"data:")]
    for line in lines:
        if line.strip() == STREAM_END:
            continue
        try:
            event: dict[str, Any] = json.loads(line[len(b"data:") :])
        except ValueError:
            return "an event is not JSON", "".join(text)
        if "error" in event:
            return f"error event: {event['error'].get('message', event['error'])}", "".join(text)
        for choice in event.get("choices", []):
            text.append(choice.get("delta", {}).get("content") or "")
            reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []
    if not lines or lines[-1].strip() != STREAM_END:
        return "the stream ended without [DONE]", "".join(text)
    if not any(reason in FINISHED for reason in reasons):
        return f"the stream finished with {reasons or 'no reason'}", "".join(text)
    return "", "".join(text)
