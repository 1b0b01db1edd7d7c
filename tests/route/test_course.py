"""Which steps a request may use, and where it enters."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.route_table import UNKNOWN_DATA, DataRule, ExternalTarget
from modelfleet.route import course
from modelfleet.route.course import Course
from modelfleet.route.keys import ApiKey
from modelfleet.route.refusal import Refused
from tests.router.rig import cascade, tier

CALM = cascade(tier("small", weight=1000), tier("medium"), tier("big"), choose_tier=True, choose_floor=True)
PLAIN = cascade(tier("small", weight=1000), tier("medium"), tier("big"))

Fields = Sequence[tuple[bytes, bytes]]
AWAY = ExternalTarget("https://api.example.com/v1", None, None)
TIER, FLOOR = b"x-modelfleet-tier", b"x-modelfleet-min-tier"


def _key(*, tiers: frozenset[str] | None = None, data_class: str | None = None) -> ApiKey:
    return ApiKey("k", b"", tiers=tiers, data_class=data_class)


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


POLICY = DataRule("x-class", ("private",), ("public",), "LocalOnly")
GUARDED = cascade(
    tier("small", weight=1000),
    tier("vendor", external=AWAY),
    tier("big"),
    tier("frontier", external=AWAY),
    choose_tier=True,
    data=POLICY,
)
STAYS, LEAVES = (0, 2), (0, 1, 2, 3)
CLASS = b"x-class"

CLASSES: dict[str, tuple[Fields, str | None, tuple[int, ...]]] = {
    "private: stays": ([(CLASS, b"private")], None, STAYS),
    "public: leaves": ([(CLASS, b"public")], None, LEAVES),
    "no class: stays": ([], None, STAYS),
    "an empty one: stays": ([(CLASS, b"")], None, STAYS),
    "a class that nobody knows: stays": ([(CLASS, b"pubic")], None, STAYS),
    "in capitals: the same class": ([(CLASS, b"PUBLIC")], None, LEAVES),
    "with blanks: the same class": ([(CLASS, b"\t public ")], None, LEAVES),
    "in quotes: another class": ([(CLASS, b'"public"')], None, STAYS),
    "two headers: the stricter": ([(CLASS, b"public"), (CLASS, b"private")], None, STAYS),
    "two in one header: the stricter": ([(CLASS, b"public,private")], None, STAYS),
    "a comma too many: something nobody knows": ([(CLASS, b"public,")], None, STAYS),
    "bytes that are no text: stays": ([(CLASS, b"public\xff")], None, STAYS),
    "the key's class alone": ([], "public", LEAVES),
    "the key's class in capitals": ([], "Public", LEAVES),
    "the key is stricter": ([(CLASS, b"public")], "private", STAYS),
    "the header is stricter": ([(CLASS, b"private")], "public", STAYS),
    "a tier inside may be chosen": ([(CLASS, b"private"), (TIER, b"big")], None, (2,)),
}


@pytest.mark.parametrize(("fields", "key", "want"), CLASSES.values(), ids=CLASSES)
def test_data_stays_where_it_may_be(fields: Fields, key: str | None, want: tuple[int, ...]):
    assert Course(GUARDED).places(fields, _key(data_class=key)) == want


KEYS: dict[str, tuple[Fields, frozenset[str] | None, tuple[int, ...] | str]] = {
    "a key without tiers: every tier": ([], None, (0, 1, 2)),
    "a key with tiers: these": ([], frozenset({"small", "big"}), (0, 2)),
    "a key and a floor: what both allow": ([(FLOOR, b"medium")], frozenset({"small", "big"}), (2,)),
    "a key with tiers of another cascade": ([], frozenset({"tiny"}), "tier_not_allowed"),
    "a tier that the key may not have": ([(TIER, b"medium")], frozenset({"big"}), "tier_not_allowed"),
    "a floor above all that the key may have": ([(FLOOR, b"big")], frozenset({"small"}), "tier_not_allowed"),
}


@pytest.mark.parametrize(("fields", "tiers", "want"), KEYS.values(), ids=KEYS)
def test_a_key_opens_its_own_tiers(fields: Fields, tiers: frozenset[str] | None, want: tuple[int, ...] | str):
    found: tuple[int, ...] | str | None
    try:
        found = Course(CALM).places(fields, _key(tiers=tiers))
    except Refused as err:
        found = err.refusal.code

    assert found == want


def test_a_chosen_tier_does_not_open_the_door():
    with pytest.raises(Refused) as caught:
        Course(GUARDED).places([(CLASS, b"private"), (TIER, b"frontier")])

    assert (caught.value.refusal.status, caught.value.refusal.code) == (403, "data_policy")


def test_unknown_classes_are_refused_where_the_policy_says_so():
    asking = Course(replace(GUARDED, data=replace(POLICY, unknown="Reject")))
    for fields in ([], [(CLASS, b"pubic")], [(CLASS, b"private, secret-project")]):
        with pytest.raises(Refused) as caught:
            asking.places(fields)

        assert (caught.value.refusal.status, caught.value.refusal.code) == (400, "unknown_data_class")
        assert caught.value.refusal.message.endswith("data: private, public.")


def test_unknown_classes_leave_only_where_the_policy_says_so():
    open_minded = Course(replace(GUARDED, data=replace(POLICY, unknown="Allow")))

    assert open_minded.places([]) == LEAVES
    assert open_minded.places([(CLASS, b"private, other")]) == STAYS


FIELDS = st.lists(st.tuples(st.sampled_from([CLASS, TIER, b"accept"]), st.binary(max_size=12)), max_size=4)
WORDS = st.sampled_from([b"private", b"PRIVATE", b" private", b"public, private", b"private,public"])


@given(FIELDS, WORDS, st.sampled_from(UNKNOWN_DATA), st.none() | st.text(max_size=9), st.integers(0, 4))
def test_nothing_that_a_request_adds_lets_private_data_out(
    fields: list[tuple[bytes, bytes]], word: bytes, unknown: str, key: str | None, at: int
):
    route = replace(GUARDED, data=replace(POLICY, unknown=unknown))
    try:
        places = Course(route).places([*fields[:at], (CLASS, word), *fields[at:]], _key(data_class=key))
    except Refused:
        return

    assert places
    assert all(route.tiers[place].external is None for place in places)


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
