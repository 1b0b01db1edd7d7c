from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.pools import Member, limit, share, units
from modelfleet.plan.rules import Verdict
from modelfleet.plan.snapshot import Name, Pool
from tests.plan.calm_tier import CALM

A, B, C = Name("ns", "a"), Name("ns", "b"), Name("ns", "c")


def member(now: int, wish: int, *, floor: int = 1, units: int = 1) -> Member:
    return Member(now, min(floor, wish), wish, units)


SHARES: dict[str, tuple[dict[Name, Member], int, dict[Name, int]]] = {
    "room for all: what each wishes": ({A: member(2, 4), B: member(1, 3)}, 10, {A: 4, B: 3}),
    "one grows beyond the room: as far as there is": ({A: member(2, 9), B: member(1, 1)}, 6, {A: 5, B: 1}),
    "both grow, room for half: equal parts of what they wish": (
        {A: member(0, 8), B: member(0, 4)},
        6,
        {A: 4, B: 2},
    ),
    "what runs stays, however much it is": ({A: member(5, 5), B: member(0, 5)}, 6, {A: 5, B: 1}),
    "one shrinks: the other has its room at once": ({A: member(5, 2), B: member(1, 4)}, 6, {A: 2, B: 4}),
    "a minimum comes before a wish": (
        {A: member(1, 9), B: member(0, 3, floor=3)},
        5,
        {A: 2, B: 3},
    ),
    "equal in all: by name": ({B: member(1, 2), A: member(1, 2)}, 3, {A: 2, B: 1}),
    "a replica of four units does not fit, one of one does": (
        {A: member(1, 3, units=4), B: member(1, 3)},
        7,
        {A: 1, B: 3},
    ),
    "the limit was lowered: who has the most gives": ({A: member(6, 6), B: member(3, 6)}, 7, {A: 4, B: 3}),
    "the limit is below the minimums: these stay": (
        {A: member(4, 4, floor=2), B: member(4, 4, floor=2)},
        3,
        {A: 2, B: 2},
    ),
    "full, and a tier wants to wake": ({A: member(4, 4), B: member(0, 1)}, 4, {A: 4, B: 0}),
    "nothing is wished": ({A: member(2, 0), B: member(0, 0)}, 0, {A: 0, B: 0}),
    "no tiers": ({}, 3, {}),
}


@pytest.mark.parametrize(("members", "room", "want"), SHARES.values(), ids=SHARES)
def test_share(members: Mapping[Name, Member], room: int, want: Mapping[Name, int]):
    assert share(members, room) == want


MEMBERS = st.builds(
    member, now=st.integers(0, 12), wish=st.integers(0, 12), floor=st.integers(1, 4), units=st.integers(1, 4)
)


@given(members=st.dictionaries(st.sampled_from([A, B, C]), MEMBERS), room=st.integers(-4, 60))
def test_laws(members: dict[Name, Member], room: int):
    granted = share(members, room)

    used = sum(replicas * members[name].units for name, replicas in granted.items())
    floors = sum(min(one.floor, one.now) * one.units for one in members.values())
    for name, replicas in granted.items():
        assert 0 <= replicas <= members[name].wish
        assert replicas >= min(members[name].now, members[name].floor)
    assert used <= max(room, floors)
    assert granted == share(dict(reversed(members.items())), room)
    # What was granted is granted again, so nothing moves while nothing changes.
    settled = {name: replace(one, now=granted[name]) for name, one in members.items()}
    assert share(settled, room) == granted


def verdict(replicas: int, reason: str = "LoadAhead") -> Verdict:
    return Verdict(replicas, reason, "", replicas)


POOLED = replace(CALM, pool="gpu")
LIMITS: dict[str, tuple[dict[Name, Verdict], int, dict[Name, tuple[int, str]]]] = {
    "room for all": (
        {A: verdict(4), B: verdict(5)},
        9,
        {A: (4, "LoadAhead"), B: (5, "LoadAhead")},
    ),
    "one has to do with less, and it is said": (
        {A: verdict(3, "WithinTolerance"), B: verdict(6)},
        8,
        {A: (3, "WithinTolerance"), B: (5, "PoolLimit")},
    ),
    "a pin counts and is not touched": (
        {A: verdict(8, "Pinned"), B: verdict(6)},
        8,
        {A: (8, "Pinned"), B: (1, "PoolLimit")},
    ),
    "a paused tier counts and is not touched": (
        {A: verdict(3, "Paused"), B: verdict(6)},
        8,
        {A: (3, "Paused"), B: (5, "PoolLimit")},
    ),
}


@pytest.mark.parametrize(("verdicts", "units_max", "want"), LIMITS.values(), ids=LIMITS)
def test_limit(verdicts: dict[Name, Verdict], units_max: int, want: dict[Name, tuple[int, str]]):
    got = limit(verdicts, dict.fromkeys(verdicts, POOLED), {"gpu": Pool(units_max)})

    assert {name: (each.replicas, each.reason) for name, each in got.items()} == want


def test_tiers_that_do_not_scale_are_counted():
    got = limit({A: verdict(9)}, {A: replace(POOLED, pool_units=2)}, {"gpu": Pool(14, taken=4)})

    assert got[A].replicas == 5
    assert got[A].message == "Node pool gpu is full: the settings allow 14 units over all its tiers"


def test_other_pools_and_tiers_without_one_are_left_alone():
    tiers = {A: POOLED, B: replace(CALM, pool="cpu"), C: CALM}
    verdicts = dict.fromkeys(tiers, verdict(9))

    got = limit(verdicts, tiers, {"gpu": Pool(4), "idle": Pool(1)})

    assert [got[name].replicas for name in (A, B, C)] == [4, 9, 9]
    assert units(got, tiers, {"gpu": Pool(4), "idle": Pool(1, taken=1)}) == {"gpu": 4, "idle": 1}


def test_what_is_only_observed_counts_as_it_is_and_would_get_what_the_others_leave():
    tiers = {A: replace(POOLED, observe=True), B: POOLED}
    verdicts = {A: verdict(9), B: verdict(4)}

    got = limit(verdicts, tiers, {"gpu": Pool(8)})

    assert (got[A].replicas, got[A].reason, got[B].replicas) == (4, "PoolLimit", 4)
    assert units(got, tiers, {"gpu": Pool(8)}) == {"gpu": 7}


def test_a_tier_that_nobody_can_measure_goes_on_saying_so():
    lost = Verdict(5, "Fallback", "No metric can be read", 5, active=False)

    got = limit({A: lost}, {A: POOLED}, {"gpu": Pool(4)})[A]

    assert (got.replicas, got.reason) == (4, "Fallback")
    assert (
        got.message
        == "No metric can be read. Node pool gpu is full: the settings allow 4 units over all its tiers"
    )


def test_a_tier_that_would_grow_into_a_full_pool_counts():
    tiers = {A: replace(POOLED, observe=True), B: POOLED}

    got = limit({A: verdict(9), B: verdict(9)}, tiers, {"gpu": Pool(8)})

    assert (got[A].replicas, got[B].replicas) == (3, 5)
    assert units(got, tiers, {"gpu": Pool(8)}) == {"gpu": 8}
