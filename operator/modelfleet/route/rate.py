"""How often an API outside the fleet may be asked, so that it is never asked too often.

Requests are counted when they begin, tokens when an answer has told them; until then what is under way counts with
the mean.  A router lets in its part only, so all of them together keep the limit as long as they know how many they
are.
"""

_MINUTE_S = 60.0
_BURST = 12  # of a minute's amount so much may come at once: five seconds' worth


class Flow:
    """An amount per minute: in any minute never more than that, and at most a twelfth of it at once.

    So it fills at what a minute leaves after a burst.  An amount below 1 is one in so many minutes.
    """

    __slots__ = ("_at_s", "_held", "_per_s", "burst")

    def __init__(self, now_s: float) -> None:
        self._at_s = now_s
        self.burst = self._held = self._per_s = 0.0

    def limit(self, per_minute: float, now_s: float) -> None:
        """From now on so much.  What has been used stays used."""
        fresh = self._per_s == 0.0
        self._fill(now_s)
        self.burst = max(1.0, per_minute / _BURST)
        self._per_s = (per_minute - self.burst + 1.0 if per_minute >= 1.0 else per_minute) / _MINUTE_S
        self._held = self.burst if fresh else min(self._held, self.burst)

    def wait_s(self, amount: float, now_s: float) -> float:
        """When so much could be taken: 0.0 now.  More than a burst can be had when the burst is full."""
        self._fill(now_s)
        return max(0.0, amount - self._held) / self._per_s

    def take(self, amount: float) -> None:
        """It is used, even if there was less."""
        self._held -= amount

    def _fill(self, now_s: float) -> None:
        self._held = min(self.burst, self._held + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s


class Rate:
    """One router's part of the limits of one API."""

    __slots__ = ("_answers", "_requests", "_seen", "_tokens", "parts")

    def __init__(self) -> None:
        self.parts: tuple[float | None, float | None] = (
            None,
            None,
        )  # requests and tokens per minute, of this router
        self._requests: Flow | None = None
        self._tokens: Flow | None = None
        self._seen = 0  # tokens that have been counted already
        self._answers = 0  # that told them

    def limit(self, *, requests: int | None, tokens: int | None, routers: int, now_s: float) -> None:
        """Per minute at `routers` routers together; None: no limit."""
        requests_part = None if requests is None else requests / routers
        tokens_part = None if tokens is None else tokens / routers
        self._requests = _limited(self._requests, requests_part, now_s)
        self._tokens = _limited(self._tokens, tokens_part, now_s)
        self.parts = requests_part, tokens_part

    def told(self, *, tokens: int, answers: int) -> None:
        """So many tokens in so many answers, ever.  Fewer than before: one who counted has left."""
        if self._tokens is not None:
            self._tokens.take(max(0, tokens - self._seen))
        self._seen, self._answers = tokens, answers

    def wait_s(self, now_s: float, *, ahead: int, under_way: int) -> float:
        """When a request with `ahead` others before it may begin: 0.0 now."""
        wait_s = 0.0
        if self._requests is not None:
            wait_s = self._requests.wait_s(ahead + 1.0, now_s)
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.wait_s(self._expected(self._tokens, ahead + under_way), now_s))
        return wait_s

    def begin(self) -> None:
        """A request begins."""
        if self._requests is not None:
            self._requests.take(1.0)

    def _expected(self, tokens: Flow, requests: int) -> float:
        """Tokens that so many requests will take, and the first of the next one.

        Until an answer has told how many that are, one at a time takes all that may come at once.
        """
        mean = self._seen / self._answers if self._answers else tokens.burst
        return 1.0 + requests * mean


def _limited(flow: Flow | None, per_minute: float | None, now_s: float) -> Flow | None:
    if per_minute is None:
        return None
    flow = flow or Flow(now_s)
    flow.limit(per_minute, now_s)
    return flow
