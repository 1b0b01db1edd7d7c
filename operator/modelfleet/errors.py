"""Errors raised on purpose, typed by what happens next.  Anything else is a bug and is logged with its traceback.

FleetError
├── InvalidSpec    the user must edit the object; not retried
├── NotYet         something else comes first; retried after a known delay
└── ClusterError   the API server refused; retried with back-off
    └── Conflict   somebody else wrote first; requeued silently
"""


class FleetError(Exception):
    """Base of every error that the operator or the router raises on purpose."""


class InvalidSpec(FleetError):
    """The object can never work as it is written.  `reason` is the CamelCase word of the condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NotYet(FleetError):
    """Something else must happen first."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ClusterError(FleetError):
    """The API server refused.  `status` is its HTTP status, 0 when it did not answer."""

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


class Conflict(ClusterError):
    """The object changed since it was read."""


class MetricsError(FleetError):
    """The metrics store did not answer, or answered nonsense.  Callers hold."""
