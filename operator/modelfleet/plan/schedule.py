"""Which schedules run now, as Debian's cron would start them: pure, given the time zones.

A start that falls into an hour which the clock skips comes right after that hour; one in an hour that comes twice comes
the first time.  A duration is time that passes, so ten hours are ten hours on every day.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from cronsim import CronSim, CronSimError

_FIELDS = 5
_MINUTE_S = 60.0
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One entry of scaling.schedules.  `zone` None: nobody knows a time zone called `zone_name`."""

    cron: str
    duration_s: float
    zone: tzinfo | None
    zone_name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Scheduled:
    """`replicas` to have at least now, 0 for no schedule that runs; `problems` of those that never will, for people."""

    replicas: int = 0
    cron: str = ""  # of the schedule that asks for them
    problems: tuple[str, ...] = ()


def scheduled(schedules: Sequence[Schedule], now_s: float) -> Scheduled:
    """The most that a running schedule asks for.  One that cannot be read keeps no other from counting."""
    faults = [fault(each) for each in schedules]
    running = [
        each for each, why in zip(schedules, faults, strict=True) if why is None and _runs(each, now_s)
    ]
    most = max(running, key=lambda each: each.replicas, default=None)
    problems = tuple(why for why in faults if why is not None)
    return Scheduled(most.replicas, most.cron, problems) if most else Scheduled(problems=problems)


def fault(schedule: Schedule) -> str | None:
    """Why it never runs, in the parser's words; None when it does."""
    if schedule.zone is None:
        return f"timeZone {schedule.zone_name}: no such time zone"
    why = _cron_fault(schedule.cron)
    return None if why is None else f"cron {schedule.cron}: {why}"


@lru_cache(maxsize=4096)
def _cron_fault(cron: str) -> str | None:
    if len(cron.split()) != _FIELDS:
        return "Wrong number of fields"
    try:
        next(CronSim(cron, _SOME_DAY))
    except CronSimError as err:
        return str(err)
    except StopIteration:
        return "There is no such day"
    return None


def _runs(schedule: Schedule, now_s: float) -> bool:
    """Whether it started less than its duration ago."""
    assert schedule.zone is not None
    # Starts are whole minutes, so what comes after the minute begun comes after all of its seconds.
    since_min = math.floor((now_s - schedule.duration_s) / _MINUTE_S)
    start_s = _first_start_s(schedule.cron, schedule.zone, since_min)
    return start_s is not None and start_s <= now_s


@lru_cache(maxsize=4096)
def _first_start_s(cron: str, zone: tzinfo, since_min: int) -> float | None:
    """The first start after a minute, counted from the epoch; many tiers ask for the same one, and all of them often."""
    since_s = since_min * _MINUTE_S
    # In an hour that comes twice the first starts found may lie before `since`: local time does not tell.
    starts_s = (each.timestamp() for each in CronSim(cron, datetime.fromtimestamp(since_s, zone)))
    return next((start_s for start_s in starts_s if start_s > since_s), None)
