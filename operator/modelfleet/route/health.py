"""Whether a replica may have requests, told from how its last ones ended.

    In --failures--> Out --time--> Probing --good answers--> Returning --time--> In
                      ^               |                          |
                      +----failure----+--------------------------+

One who probes gets one request at a time; one who returns gets twice as many every second.  So neither a replica that
is still ill nor one that has just come back is met by all that waited for it.
"""

from typing import Final, Literal

State = Literal["In", "Out", "Probing", "Returning"]

FAILURES_IN_ROW: Final = 5
# Within a window: at least so many failures, and at least so large a part of what ended.
FAILURES_MIN: Final = 10
FAILURE_PERCENT: Final = 50
WINDOW_S: Final = 30.0
# Doubles with every time that the replica is taken out again before it was back for good.
OUT_S: Final = 5.0
OUT_MAX_S: Final = 60.0
RETRY_AFTER_MAX_S: Final = 300.0  # what an external API may ask for
GOOD_PROBES: Final = 2
RETURN_S: Final = 10.0
_RETURN_STEP_S: Final = 1.0
_JITTER: Final = 0.2  # routers that took a replica out together do not come back to it together

UNLIMITED: Final = 1 << 30  # requests at a time

_FAULTS: Final = frozenset({
    "Refused", "ConnectTimeout", "TLS", "Reset", "BadHttp", "Timeout", "Silence", "Truncated", "Oversized",
    "Status5xx", "Redirect", "Unauthorized", "NotFound", "NotAnAnswer", "ErrorBody", "ErrorEvent", "Aborted",
    "Abandoned", "AddressDenied",
})  # fmt: skip
_NEITHER: Final = frozenset(
    {"Cancelled", "Deadline", "Status4xx", "TooLong", "Unsupported", "UnsupportedInput", "NoSocket"}
)


# Of an API outside the fleet: there was nobody to send anything to.
_UNREACHED: Final = frozenset({"Refused", "ConnectTimeout", "TLS", "AddressDenied"})
RESTS: Final = "RetryAfter"  # it was taken out because it asked for that


def judge(outcome: str, *, external: bool) -> bool | None:
    """Whether an attempt's outcome speaks for a replica; None: it says nothing about it.

    An engine of ours that is rate limited is busy and not ill.  An external API that says so wants to be left alone.
    """
    if outcome == "RateLimited":
        return False if external else None
    return None if outcome in _NEITHER else outcome not in _FAULTS


def may_leave(*, out: int, total: int) -> bool:
    """Whether one more replica of a tier may be taken out: never more than half, so never the only one.

    When all fail alike it is not the replicas' fault, and what is left would only get more to do.
    """
    return 2 * (out + 1) <= total


class Health:
    """What is known of one replica.  Time is monotonic seconds and comes in."""

    __slots__ = (
        "bad",
        "fault",
        "good",
        "in_row",
        "reason",
        "since_s",
        "state",
        "times",
        "until_s",
        "window_s",
    )

    def __init__(self) -> None:
        self.state: State = "In"
        self.reason = ""  # why it was taken out, one word; kept until it is back
        self.fault = ""  # how its last failure ended, one word, where that is told
        self.since_s = 0.0  # when the state began
        self.until_s = 0.0  # Out: when it may be probed
        self.times = 0  # taken out in a row
        self.in_row = 0  # failures since the last good answer
        self.good = 0  # good answers: of this window; while Probing, of the probe
        self.bad = 0  # failures of this window
        self.window_s = 0.0  # when the window began: with a failure

    def succeeded(self, now_s: float) -> None:
        self.in_row = 0
        self.good += 1
        if self.state == "Probing" and self.good >= GOOD_PROBES:
            self._enter("Returning", now_s)

    def failed(self, now_s: float, *, fault: str = "") -> str | None:
        """Count a failure.  Why the replica should be taken out, one word; None: not yet.

        `fault`: how it failed, of one that is knocked at.
        """
        self.fault = fault
        self.in_row += 1
        if now_s - self.window_s > WINDOW_S:
            self.window_s, self.good, self.bad = now_s, 0, 0
        self.bad += 1
        if self.state == "Out":
            return None  # of a request that was there before
        if self.state == "Probing":
            return "ProbeFailed"
        if self.in_row >= FAILURES_IN_ROW:
            return "ConsecutiveFailures"
        enough = self.bad >= FAILURES_MIN and 100 * self.bad >= FAILURE_PERCENT * (self.bad + self.good)
        return "FailureRatio" if enough else None

    def wants_knock(self, now_s: float) -> bool:
        """Whether somebody should see if it can be reached at all, before it gets a request."""
        if self.state == "Out":
            return now_s >= self.until_s and self.fault in _UNREACHED
        return self.state == "In" and not self.good and not self.bad  # nothing is known of it

    def reached(self, now_s: float) -> bool:
        """A knock was answered.  Whether it is probed now, as it was out."""
        if self.state != "Out":
            self.good += 1
            return False
        self._enter("Probing", now_s)
        return True

    def outage(self) -> str:
        """Why it gets no requests, one word; empty: it may have some, or has only asked for rest."""
        return (self.fault or self.reason) if self.state == "Out" and self.reason != RESTS else ""

    def take_out(self, reason: str, *, now_s: float, spin: float, at_least_s: float = 0.0) -> None:
        """No requests for a while.  `spin`: uniform in [0, 1), spreads the return; `at_least_s`: what the API asked for."""
        span_s = min(OUT_MAX_S, OUT_S * 2**self.times)
        span_s = max(span_s, min(at_least_s, RETRY_AFTER_MAX_S)) * (1 + _JITTER * spin)
        self.times = min(self.times + 1, 8)
        self.reason = reason
        self.until_s = now_s + span_s
        self._enter("Out", now_s)

    def readmit(self, now_s: float) -> None:
        """It may be probed at once: the tier has shrunk and needs it."""
        self._enter("Probing", now_s)

    def room(self, limit: int, now_s: float) -> int:
        """How many requests at a time it may have now, of `limit` in health.  Moves on to the next state when it is time.

        One that could not be reached stays out until a knock has been answered.
        """
        if self.state == "Out" and now_s >= self.until_s and self.fault not in _UNREACHED:
            self._enter("Probing", now_s)
        elif self.state == "Returning" and now_s - self.since_s >= RETURN_S:
            self.reason, self.times = "", 0
            self._enter("In", now_s)
        if self.state == "In":
            return limit
        if self.state == "Out":
            return 0
        if self.state == "Probing":
            return 1
        return min(limit, 2 << int((now_s - self.since_s) / _RETURN_STEP_S))

    def _enter(self, state: State, now_s: float) -> None:
        self.state, self.since_s = state, now_s
        self.good = self.bad = self.in_row = 0
        self.window_s = now_s
