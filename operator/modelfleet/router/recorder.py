"""Who is told of requests that are over.  Off until the settings want it, and then nothing but one look at `on`."""

from collections.abc import Callable

from modelfleet.api.route_table import CascadeRoute, RouterRules
from modelfleet.route import account
from modelfleet.route.account import End
from modelfleet.route.journey import Journey
from modelfleet.router.access_log import AccessLog
from modelfleet.router.message import Request

# Of requests that failed, so many a second are told beyond the sample: all of them, except while everything fails.
FAILED_PER_S = 10
_PERCENT = 100


class Recorder:
    """Hands a sample of the accounts on to the access log."""

    __slots__ = ("_failed", "_log", "_percent", "_second", "_spin", "on")

    def __init__(self, log: AccessLog | None, *, spin: Callable[[], float]) -> None:
        self._log = log
        self._spin = spin  # uniform in [0, 1)
        self._percent = 0
        self._second = 0  # in which requests that failed are counted
        self._failed = 0
        self.on = False

    def follow(self, rules: RouterRules) -> None:
        """Do as these rules say from now on."""
        self._percent = rules.access_log_percent if self._log is not None else 0
        self.on = self._percent > 0

    def over(
        self,
        end: End,
        request: Request,
        stream: bool = False,  # noqa: FBT001, FBT002 - one way to call it, in the request path
        route: CascadeRoute | None = None,
        journey: Journey | None = None,
    ) -> None:
        """A request is over; without `route` and `journey` it was refused at the door."""
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


OFF = Recorder(None, spin=lambda: 0.0)
