"""What the routers' counts of an hour tell those that begin."""

from collections.abc import Mapping

import pytest

from modelfleet.api.balance import Balance
from modelfleet.plan.balance import published

CALM = {"small": 700.0, "big": 300.0}
EVEN = Balance(answers=1000, ahead=0)

CASES = {
    "on its share": (CALM, None, EVEN),
    "it owes": ({"small": 710.0, "big": 290.0}, None, Balance(answers=1000, ahead=-10)),
    "it gave more": ({"small": 670.0, "big": 330.0}, None, Balance(answers=1000, ahead=30)),
    "it owes more than routers remember": ({"small": 1000.0}, None, Balance(answers=1000, ahead=-50)),
    "it gave more than they remember": ({"big": 1000.0}, None, Balance(answers=1000, ahead=50)),
    "hardly moved: as it was": ({"small": 704.0, "big": 296.0}, EVEN, EVEN),
    "moved enough": ({"small": 705.0, "big": 295.0}, EVEN, Balance(answers=1000, ahead=-5)),
    "more answers alone": ({"small": 910.0, "big": 390.0}, EVEN, Balance(answers=1300, ahead=0)),
    "nobody could be asked: as it was": (None, EVEN, EVEN),
    "an hour without answers": ({}, EVEN, None),
}


@pytest.mark.parametrize(("answered", "shown", "want"), CASES.values(), ids=CASES)
def test_published(answered: Mapping[str, float] | None, shown: Balance | None, want: Balance | None) -> None:
    assert published(answered, last="big", owed_permille=300, shown=shown) == want


def test_where_routers_move_no_entries_nothing_is_told() -> None:
    assert published(CALM, last="big", owed_permille=None, shown=EVEN) is None


def test_an_operator_that_has_just_begun_does_not_know_the_hour() -> None:
    few = {"small": 400.0, "big": 20.0}

    assert published(few, last="big", owed_permille=300, shown=EVEN, whole=False) == EVEN
    assert published(few, last="big", owed_permille=300, shown=EVEN) == Balance(answers=420, ahead=-50)
    # Where nothing was known before, little is better than nothing.
    assert published(few, last="big", owed_permille=300, shown=None, whole=False) is not None
