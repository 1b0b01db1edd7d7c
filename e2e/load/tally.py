"""Counts over all requests, in a form that survives a pipe."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from e2e.load.outcome import Outcome

FAILURES_SHOWN = 20
SAMPLES_SHOWN = 8
TEXT_SHOWN_CHARS = 80


@dataclass
class Tally:
    """`finished` includes `failed`; what is `open` was sent and has no end yet."""

    sent: int = 0
    finished: int = 0
    failed: int = 0
    retried: int = 0  # answered after more than one attempt of the router
    streams: int = 0  # finished requests that were streamed
    tiers: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    good: int = 0  # whole, and within the objectives
    late_s: float = 0.0  # the most that an arrival of an open loop was sent too late
    ttft_s: list[float] = field(default_factory=list)
    itl_s: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome, *, good: bool = False) -> None:
        """A request has ended."""
        self.finished += 1
        self.good += good
        self.streams += outcome.stream
        self.retried += outcome.attempts > 1
        if outcome.failure:
            self.failed += 1
            if len(self.failures) < FAILURES_SHOWN:
                self.failures.append(_told(outcome))
            return
        self.tiers[outcome.tier] += 1
        if outcome.ttft_s is not None:
            self.ttft_s.append(outcome.ttft_s)
        if (itl_s := outcome.itl_s) is not None:
            self.itl_s.append(itl_s)
        key = f"{outcome.tier} {'stream' if outcome.stream else 'plain'}"
        if len(self.samples) < SAMPLES_SHOWN:
            self.samples.setdefault(key, _told(outcome))

    def report(self, under_way: Iterable[Outcome]) -> dict[str, Any]:
        """Everything so far as JSON-ready values.  `open` counts streams per tier that has begun to answer."""
        waiting = list(under_way)
        return {
            "sent": self.sent,
            "finished": self.finished,
            "failed": self.failed,
            "retried": self.retried,
            "streams": self.streams,
            "tiers": dict(self.tiers),
            "failures": self.failures,
            "samples": self.samples,
            "underWay": len(waiting),
            "streamsUnderWay": sum(outcome.stream for outcome in waiting),
            "open": dict(Counter(outcome.tier for outcome in waiting if outcome.tier)),
            "good": self.good,
            "attainment": self.good / self.finished if self.finished else None,
            "lateS": self.late_s,
            "ttftMedianS": _quantile(self.ttft_s, 0.5),
            "ttftP95S": _quantile(self.ttft_s, 0.95),
            "itlP95S": _quantile(self.itl_s, 0.95),
        }


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "at": outcome.started_at_s,
        "stream": outcome.stream,
        "status": outcome.status,
        "tier": outcome.tier,
        "attempts": outcome.attempts,
        "failure": outcome.failure,
        "text": outcome.text[:TEXT_SHOWN_CHARS],
    }


def _quantile(values: list[float], share: float) -> float | None:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None
