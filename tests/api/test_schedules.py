"""Which crontabs the API server lets in; what a schedule does is tested with the planner."""

import re

import pytest

from modelfleet.api.schedules import CRON_PATTERN


@pytest.mark.parametrize(
    "cron",
    [
        "0 8 * * 1-5",
        "*/15 * * * *",
        "59 23 31 12 7",
        "0 0 L * *",
        "0 9 * * MON-FRI",
        "0 9 * * 5L",
        "0 9 * * 1#2",
    ],
)
def test_crontabs_as_people_write_them(cron: str) -> None:
    assert re.search(CRON_PATTERN, cron)


@pytest.mark.parametrize(
    ("because", "cron"),
    [
        ("a minute that no hour has", "60 8 * * *"),
        ("an hour that no day has", "0 24 * * *"),
        ("a month that no year has", "0 8 * 13 *"),
        ("seconds, which crontabs do not have", "0 0 8 * * *"),
        ("a nickname", "@daily"),
        ("a weekday in another language", "0 8 * * LUN"),
    ],
)
def test_what_has_no_meaning_is_refused(because: str, cron: str) -> None:
    assert not re.search(CRON_PATTERN, cron)
