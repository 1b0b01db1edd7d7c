"""Which steps a request may use, and where it enters."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import course
from modelfleet.route.course import Course
from modelfleet.route.refusal import Refused
from tests.router.rig import cascade, tier

CALM = cascade(tier("small", weight=1000), tier("medium"), tier("big"), choose_tier=True, choose_floor=True)
PLAIN = cascade(tier("small", weight=1000), tier("medium"), tier("big"))

Fields = Sequence[tuple[bytes, bytes]]
TIER, FLOOR = b"x-modelfleet-tier", b"x-modelfleet-min-tier"

CHOICES: dict[str, tuple[Fields, tuple[int, ...]]] = {
    "nothing chosen: every tier": ([(b"accept", b"*/*")], (0, 1, 2)),
    "a tier: that one and no other": ([(TIER, b"medium")], (1,)),
    "a floor: that one and what is dearer": ([(FLOOR, b"medium")], (1, 2)),
    "the cheapest as a floor: every tier": ([(FLOOR, b"small")], (0, 1, 2)),
    "both, and they agree: the tier": ([(FLOOR, b"medium"), (TIER, b"big")], (2,)),
    "said twice alike: as if once": ([(TIER, b"big"), (TIER, b" big ")], (2,)),
}


@pytest.mark.parametrize(("fields", "want"), CHOICES.values(), ids=CHOICES)
def test_what_a_client_chooses(fields: Fields, want: tuple[int, ...]):
    assert Course(CALM).places(fields) == want


REFUSED: dict[str, tuple[Fields, str]] = {
    "no such tier": ([(TIER, b"huge")], "unknown_tier"),
    "no such floor": ([(FLOOR, b"huge")], "unknown_tier"),
    "an empty name": ([(TIER, b"")], "unknown_tier"),
    "two names in one header": ([(TIER, b"small, big")], "unknown_tier"),
    "two headers that differ": ([(TIER, b"small"), (TIER, b"big")], "unknown_tier"),
    "a name in capitals": ([(TIER, b"BIG")], "unknown_tier"),
    "bytes that are no text": ([(TIER, b"\xff\xfe")], "unknown_tier"),
    "a tier below the floor": ([(TIER, b"small"), (FLOOR, b"big")], "tier_below_floor"),
}


@pytest.mark.parametrize(("fields", "code"), REFUSED.values(), ids=REFUSED)
def test_a_choice_that_cannot_be_is_explained(fields: Fields, code: str):
    with pytest.raises(Refused) as caught:
        Course(CALM).places(fields)

    assert (caught.value.refusal.status, caught.value.refusal.code) == (400, code)


@pytest.mark.parametrize("header", [TIER, FLOOR])
def test_a_choice_is_refused_where_the_cascade_does_not_allow_it(header: bytes):
    with pytest.raises(Refused) as caught:
        Course(PLAIN).places([(header, b"small")])

    assert caught.value.refusal.code == "tier_choice_not_allowed"
    assert "spec.clientChoice" in caught.value.refusal.message


def test_nothing_chosen_is_everywhere_itself():
    ways = Course(PLAIN)

    assert ways.places([(b"host", b"x")]) is ways.everywhere


ENTRIES = {
    "allowed: there": ((0, 1, 2), 1, 1),
    "too cheap: the nearest dearer one": ((1, 2), 0, 1),
    "a hole: the nearest dearer one": ((0, 2), 1, 2),
    "too dear: the nearest cheaper one": ((0, 1), 2, 1),
}


@pytest.mark.parametrize(("places", "drawn", "want"), ENTRIES.values(), ids=ENTRIES)
def test_entry(places: tuple[int, ...], drawn: int, want: int):
    assert course.entry(places, drawn) == want


@given(st.sets(st.integers(0, 7), min_size=1), st.integers(0, 7))
def test_a_request_enters_where_it_may_be(places: set[int], drawn: int):
    found = course.entry(tuple(sorted(places)), drawn)

    assert found in places
    assert found == drawn or drawn not in places
