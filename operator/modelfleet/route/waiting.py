"""Whether a request may wait for a tier whose replicas are all busy.

Holding it is worth something only when it can still be answered in time: one that cannot is told so at once, while
its client can do something else.
"""

import math
from typing import Final

RETRY_AFTER_MAX_S: Final = 30
START_AFTER_MAX_S: Final = 300
RATE_LIMIT: Final = "RateLimit"  # of ours, on an API outside the fleet
BUSY: Final = frozenset(
    {"QueueFull", "TooLate", RATE_LIMIT}
)  # why a tier that is well does not take a request
# Why a tier that sleeps does not take one.
HOLD_FULL, HOLD_TIMEOUT = "HoldFull", "HoldTimeout"
# A tier that will take requests again soon is no broken one: dearer tiers do not stand in for it.
STAYS: Final = BUSY | {HOLD_FULL}
TOLD: Final = STAYS | {HOLD_TIMEOUT}
START_S: Final = 10.0  # until a tier that sleeps answers, where that was never seen


def wait_s(ahead: int, *, room: int, hold_s: float) -> float:
    """When one of `room` busy places is free for a request with `ahead` others before it.

    `hold_s`: how long a request holds its place, on average; 0 while that is not known.
    """
    return (ahead + 1) * hold_s / room


def barrier(
    *, ahead: int, full: bool, room: int, hold_s: float, left_s: float, rate_s: float = 0.0
) -> str | None:
    """Why a request must not wait, one word; None: it may.

    `full`: nobody in line gives way to it, `room`: places of all replicas that it could get, `left_s`: time until its deadline, for the answer too,
    `rate_s`: time until the tier's rate lets it in.
    """
    if room <= 0:
        return "NoReplica"
    if rate_s and (full or rate_s + hold_s > left_s):
        return RATE_LIMIT
    if full:
        return "QueueFull"
    return "TooLate" if wait_s(ahead, room=room, hold_s=hold_s) + hold_s > left_s else None


def part(whole: int, routers: int) -> int:
    """One router's part of a limit that holds for all of them: at least 1, except of nothing."""
    return max(1, whole // routers) if whole else 0


def start_left_s(*, waited_s: float, start_s: float) -> int:
    """When a tier that has been on its way for `waited_s` will answer: whole seconds, at least 1.

    `start_s`: how long that took last time; 0 where it was never seen.
    """
    return max(1, min(START_AFTER_MAX_S, math.ceil((start_s or START_S) - waited_s)))


def retry_after_s(*, ahead: int, room: int, hold_s: float, rate_s: float = 0.0) -> int:
    """When it is worth while to ask again: whole seconds, at least 1."""
    needed_s = max(rate_s, wait_s(ahead, room=max(1, room), hold_s=hold_s))
    return max(1, min(RETRY_AFTER_MAX_S, math.ceil(needed_s)))
