"""What became of one request, judged as a client would judge it."""

import json
from dataclasses import dataclass, field
from typing import Any

STREAM_END = b"data: [DONE]"
FINISHED = ("stop", "length")


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
    failure: str = ""
    text: str = field(default="", repr=False)


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
