"""The one place that reads the wall clock."""

import time


class SystemClock:
    """A Clock (see ports) that tells the real time."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()
