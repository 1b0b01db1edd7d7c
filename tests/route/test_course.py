"""Which steps a request may use, and where it enters."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.route_table import UNKNOWN_DATA, CascadeRoute, DataRule, ExternalTarget
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


def _places(
    route: CascadeRoute, headers: Fields, body: dict[str, Any] | None = None, *, key: ApiKey | None = None
) -> tuple[int, ...]:
    return Course(route).places(headers, body or {}, len(orjson.dumps(body)), key)


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
    assert _places(CALM, fields) == want


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
        _places(CALM, fields)

    assert (caught.value.refusal.status, caught.value.refusal.code) == (400, code)


@pytest.mark.parametrize("header", [TIER, FLOOR])
def test_a_choice_is_refused_where_the_cascade_does_not_allow_it(header: bytes):
    with pytest.raises(Refused) as caught:
        _places(PLAIN, [(header, b"small")])

    assert caught.value.refusal.code == "tier_choice_not_allowed"
    assert "spec.clientChoice" in caught.value.refusal.message


def test_nothing_chosen_is_everywhere_itself():
    ways = Course(PLAIN)

    assert ways.places([(b"host", b"x")], {}, 0) is ways.everywhere


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
    assert _places(GUARDED, fields, key=_key(data_class=key)) == want


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
        found = _places(CALM, fields, key=_key(tiers=tiers))
    except Refused as err:
        found = err.refusal.code

    assert found == want


def test_a_chosen_tier_does_not_open_the_door():
    with pytest.raises(Refused) as caught:
        _places(GUARDED, [(CLASS, b"private"), (TIER, b"frontier")])

    assert (caught.value.refusal.status, caught.value.refusal.code) == (403, "data_policy")


def test_unknown_classes_are_refused_where_the_policy_says_so():
    asking = replace(GUARDED, data=replace(POLICY, unknown="Reject"))
    for fields in ([], [(CLASS, b"pubic")], [(CLASS, b"private, secret-project")]):
        with pytest.raises(Refused) as caught:
            _places(asking, fields)

        assert (caught.value.refusal.status, caught.value.refusal.code) == (400, "unknown_data_class")
        assert caught.value.refusal.message.endswith("data: private, public.")


def test_unknown_classes_leave_only_where_the_policy_says_so():
    open_minded = replace(GUARDED, data=replace(POLICY, unknown="Allow"))

    assert _places(open_minded, []) == LEAVES
    assert _places(open_minded, [(CLASS, b"private, other")]) == STAYS


FIELDS = st.lists(st.tuples(st.sampled_from([CLASS, TIER, b"accept"]), st.binary(max_size=12)), max_size=4)
WORDS = st.sampled_from([b"private", b"PRIVATE", b" private", b"public, private", b"private,public"])


@given(FIELDS, WORDS, st.sampled_from(UNKNOWN_DATA), st.none() | st.text(max_size=9), st.integers(0, 4))
def test_nothing_that_a_request_adds_lets_private_data_out(
    fields: list[tuple[bytes, bytes]], word: bytes, unknown: str, key: str | None, at: int
):
    route = replace(GUARDED, data=replace(POLICY, unknown=unknown))
    try:
        places = _places(route, [*fields[:at], (CLASS, word), *fields[at:]], key=_key(data_class=key))
    except Refused:
        return

    assert places
    assert all(route.tiers[place].external is None for place in places)


SHORT = cascade(
    tier("small", weight=1000, engine="llamaCpp", context_tokens=256),
    tier("medium", engine="vllm", context_tokens=1024),
    tier("frontier", external=AWAY),
    choose_tier=True,
)


def _prompt(words: int, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "ab " * words}], **more}


LENGTHS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "short: every tier": (_prompt(9), (0, 1, 2)),
    "nearly too long: every tier": (_prompt(250), (0, 1, 2)),
    "too long for the small one": (_prompt(300), (1, 2)),
    "too long for all that are known": (_prompt(2000), (2,)),
    "an answer too long for vLLM": (_prompt(9, max_tokens=1020), (0, 2)),
    "an answer that just fits": (_prompt(9, max_tokens=1000), (0, 1, 2)),
    "images are not counted as text": (
        {"messages": [{"content": [{"image_url": {"url": "A" * 9000}}]}]},
        (0, 1, 2),
    ),
}


@pytest.mark.parametrize(("body", "want"), LENGTHS.values(), ids=LENGTHS)
def test_what_is_too_long_goes_where_it_fits(body: dict[str, Any], want: tuple[int, ...]):
    assert _places(SHORT, [], body) == want


def test_what_fits_nowhere_is_told_in_the_words_of_openai():
    with pytest.raises(Refused) as caught:
        _places(replace(SHORT, tiers=SHORT.tiers[:2]), [], _prompt(2000, max_tokens=50))

    found = caught.value.refusal
    assert (found.status, found.code, found.param) == (400, "context_length_exceeded", "messages")
    assert found.message == (
        "This model's maximum context length is 1024 tokens. However, your messages resulted in at least 1999 "
        "tokens and ask for 50 more. Please reduce the length of the messages."
    )


def test_a_chosen_tier_that_is_too_short_is_not_replaced():
    with pytest.raises(Refused) as caught:
        _places(SHORT, [(TIER, b"small")], _prompt(300))

    assert caught.value.refusal.code == "context_length_exceeded"


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
