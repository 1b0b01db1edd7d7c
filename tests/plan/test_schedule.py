from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.api.schedules import CRON_PATTERN
from modelfleet.plan.schedule import Schedule, Scheduled, fault, scheduled

ZURICH = ZoneInfo("Europe/Zurich")


def office(
    cron: str = "0 8 * * 1-5", *, hours: float = 10.0, replicas: int = 3, zone: str = "Europe/Zurich"
) -> Schedule:
    return Schedule(cron, hours * 3600, ZoneInfo(zone), zone, replicas)


def at(text: str, zone: str = "Europe/Zurich", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


# 2026-11-23 is a Monday.  Clocks in Zurich skip 2026-03-29 02:00-03:00, and have 2026-10-25 02:00-03:00 twice.
CASES = {
    "a minute before it starts": (office(), at("2026-11-23 07:59"), 0),
    "at the start": (office(), at("2026-11-23 08:00"), 3),
    "a second before it ends": (office(), at("2026-11-23 17:59:59"), 3),
    "at the end": (office(), at("2026-11-23 18:00"), 0),
    "on a Saturday": (office(), at("2026-11-28 12:00"), 0),
    "in summer at the same local time": (office(), at("2026-07-06 08:00"), 3),
    "in summer, by UTC": (office(zone="UTC"), at("2026-07-06 08:00"), 0),
    "over midnight": (office("0 22 * * *", hours=4), at("2026-11-24 01:59"), 3),
    "over midnight, ended": (office("0 22 * * *", hours=4), at("2026-11-24 02:00"), 0),
    "one start after another: as long as the last": (office("0 * * * *", hours=2), at("2026-11-24 03:59"), 3),
    "its start is skipped by the clock: right after": (
        office("30 2 * * *", hours=1),
        at("2026-03-29 03:00"),
        3,
    ),
    "skipped, an hour later": (office("30 2 * * *", hours=1), at("2026-03-29 04:00"), 0),
    "the night that has 23 hours: four hours are four": (
        office("0 0 * * *", hours=4),
        at("2026-03-29 04:59"),
        3,
    ),
    "the night that has 23 hours, ended": (office("0 0 * * *", hours=4), at("2026-03-29 05:00"), 0),
    "its start comes twice: the first time": (office("30 2 * * *", hours=0.5), at("2026-10-25 02:45"), 3),
    "its start comes twice: not again": (
        office("30 2 * * *", hours=0.5),
        at("2026-10-25 02:45", fold=1),
        0,
    ),
    "the night that has 25 hours: four hours are four": (
        office("0 0 * * *", hours=4),
        at("2026-10-25 02:59", fold=1),
        3,
    ),
    "the night that has 25 hours, ended": (office("0 0 * * *", hours=4), at("2026-10-25 03:00"), 0),
    "the last day of a short month": (office("0 0 L * *", hours=24), at("2026-02-28 13:00"), 3),
    "the 29th of February, this year": (office("0 0 29 2 *", hours=24), at("2026-02-28 13:00"), 0),
    "the 29th of February, a leap year": (office("0 0 29 2 *", hours=24), at("2028-02-29 13:00"), 3),
}


@pytest.mark.parametrize(("schedule", "now_s", "want"), CASES.values(), ids=CASES)
def test_scheduled(schedule: Schedule, now_s: float, want: int):
    assert scheduled([schedule], now_s).replicas == want


def test_of_several_that_run_the_largest_counts():
    both = [office(replicas=3), office("0 9 * * 1", hours=1, replicas=5)]

    assert scheduled(both, at("2026-11-23 09:30")) == Scheduled(5, "0 9 * * 1")
    assert scheduled(both, at("2026-11-23 10:30")) == Scheduled(3, "0 8 * * 1-5")


FAULTS = {
    "minute 61": (office("61 8 * * *"), "cron 61 8 * * *: Bad minute"),
    "four fields": (office("0 8 * *"), "cron 0 8 * *: Wrong number of fields"),
    "seconds": (office("0 0 8 * * *"), "cron 0 0 8 * * *: Wrong number of fields"),
    "a word": (office("@daily"), "cron @daily: Wrong number of fields"),
    "the 30th of February": (office("0 0 30 2 *"), "cron 0 0 30 2 *: Bad day-of-month"),
    "a day that no month has": (office("0 0 */20 * 1L"), "cron 0 0 */20 * 1L: There is no such day"),
    "no such zone": (
        Schedule("0 8 * * *", 60.0, None, "Europe/Zuerich", 3),
        "timeZone Europe/Zuerich: no such time zone",
    ),
    "well": (office(), None),
}


@pytest.mark.parametrize(("schedule", "want"), FAULTS.values(), ids=FAULTS)
def test_fault(schedule: Schedule, want: str | None):
    assert fault(schedule) == want


@settings(max_examples=100, deadline=None)
@given(cron=st.from_regex(CRON_PATTERN, fullmatch=True), now_s=st.floats(1.7e9, 2.0e9))
def test_whatever_the_api_server_takes_runs_or_says_why_not(cron: str, now_s: float):
    found = scheduled([office(cron, hours=24)], now_s)

    assert len(found.problems) <= 1
    assert found.replicas in (0, 3)


def test_a_broken_schedule_keeps_no_other_from_counting():
    found = scheduled([office("61 8 * * *", replicas=9), office()], at("2026-11-23 12:00"))

    assert found == Scheduled(3, "0 8 * * 1-5", ("cron 61 8 * * *: Bad minute",))


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    minutes=st.integers(1, 1440),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(ZURICH)),  # noqa: DTZ001
)
def test_a_daily_schedule_runs_from_each_start_for_its_duration(
    minute: int, hour: int, minutes: int, now: datetime
):
    now_s = now.timestamp()
    got = scheduled([office(f"{minute} {hour} * * *", hours=minutes / 60)], now_s).replicas > 0

    days = [now.date() + timedelta(days=by) for by in (-2, -1, 0)]
    starts = [_start_s(datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZURICH)) for day in days]
    assert got == any(start <= now_s < start + minutes * 60 for start in starts)


def _start_s(local: datetime) -> float:
    """The first second that the clock shows this time; where it skips it, the end of what it skips."""
    back = datetime.fromtimestamp(local.timestamp(), ZURICH)
    return (
        at(f"{local.date()} 03:00")
        if back.replace(tzinfo=None) != local.replace(tzinfo=None)
        else local.timestamp()
    )
