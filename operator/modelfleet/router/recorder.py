"""Who is told of requests: the access log and the tracing.  Off until the settings want one of them."""

from collections.abc import Callable, Mapping
from typing import Any

from modelfleet.api.route_table import CascadeRoute, RouterRules
from modelfleet.route import account
from modelfleet.route.account import End
from modelfleet.route.journey import Journey
from modelfleet.router.access_log import AccessLog
from modelfleet.router.message import Request
from modelfleet.router.tracing import Trace, Tracing

# Of requests that failed, so many a second are told beyond the sample: all of them, except while everything fails.
FAILED_PER_S = 10
_PERCENT = 100


class Recorder:
    """Hands a sample of the accounts on to the access log."""

    __slots__ = ("_failed", "_log", "_percent", "_second", "_spin", "_tracing", "on")

    def __init__(self, log: AccessLog | None, tracing: Tracing | None, *, spin: Callable[[], float]) -> None:
        self._log = log
        self._tracing = tracing
        self._spin = spin  # uniform in [0, 1)
        self._percent = 0
        self._second = 0  # in which requests that failed are counted
        self._failed = 0
        self.on = False

    def follow(self, rules: RouterRules) -> None:
        """Do as these rules say from now on."""
        self._percent = rules.access_log_percent if self._log is not None else 0
        self.on = self._percent > 0
        if self._tracing is not None:
            self._tracing.follow(rules.tracing_endpoint, rules.tracing_percent)
            self.on = self.on or bool(rules.tracing_endpoint)

    def trace(self, request: Request, route: CascadeRoute, fields: Mapping[str, Any]) -> Trace | None:
        """The trace of a request that begins; None where it is not traced."""
        if self._tracing is None or self._tracing.tracer is None:
            return None
        return self._tracing.begin(request, route, fields)

    def over(  # noqa: PLR0917 - one way to call it, in the request path
        self,
        end: End,
        request: Request,
        stream: bool = False,  # noqa: FBT001, FBT002
        route: CascadeRoute | None = None,
        journey: Journey | None = None,
        trace: Trace | None = None,
    ) -> None:
        """A request is over; without `route` and `journey` it was refused at the door."""
        if trace is not None and journey is not None:
            trace.over(end, journey)
        if self._log is None or not self._wanted(end):
            return
        key = request.key.name if request.key is not None else None
        self._log.add(
            account.line(end, path=request.path, key=key, stream=stream, route=route, journey=journey)
        )

    def _wanted(self, end: End) -> bool:
        if self._spin() * _PERCENT < self._percent:
            return True
        if not self._percent or not end.failed:
            return False
        if int(end.at_s) != self._second:
            self._second, self._failed = int(end.at_s), 0
        self._failed += 1
        return self._failed <= FAILED_PER_S


OFF = Recorder(None, None, spin=lambda: 0.0)
