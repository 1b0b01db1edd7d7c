"""How many attempts a tier may get beyond the first of each request.

An engine that fails because it has too much to do must not get more to do for it.
"""

from typing import Final

SHARE: Final = 0.2  # retries per request
AT_LEAST: Final = 3  # in any window, so that a quiet tier can lose a replica without a failed request
# Long enough to retry what a dying replica held: at 20 % of a minute's requests, all that took up to 12 s.
WINDOW_S: Final = 60.0
_SLOTS: Final = 12
_SLOT_S: Final = WINDOW_S / _SLOTS


class RetryBudget:
    """Counts requests and retries of the last window: it moves in steps, and holds the current step and 11 before it."""

    __slots__ = ("_requests", "_retries", "_slot", "requests", "retries")

    def __init__(self) -> None:
        self._requests = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._slot = 0
        self.requests = 0  # in the window
        self.retries = 0

    def request(self, now_s: float) -> None:
        """A request came to the tier.  `now_s` never goes back."""
        slot = int(now_s // _SLOT_S)
        if slot != self._slot:
            self._move(slot)
        self._requests[slot % _SLOTS] += 1
        self.requests += 1

    def retry(self, now_s: float) -> bool:
        """Whether one more retry is within the budget; if so it is counted."""
        slot = int(now_s // _SLOT_S)
        if slot != self._slot:
            self._move(slot)
        if self.retries + 1 > max(AT_LEAST, SHARE * self.requests):
            return False
        self._retries[slot % _SLOTS] += 1
        self.retries += 1
        return True

    def _move(self, slot: int) -> None:
        """Forget what is older than the window."""
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            at = passed % _SLOTS
            self.requests -= self._requests[at]
            self.retries -= self._retries[at]
            self._requests[at] = self._retries[at] = 0
        self._slot = slot
