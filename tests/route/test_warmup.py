"""New replicas get their part step by step, where others have the load in hand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import affinity, choose
from modelfleet.route.warmup import LEAST, WINDOW_S, Warmup, choose_of, least_busy


@dataclass(eq=False)
class Pod:
    in_flight: int = 0
    room: int = 100
    warmth: float = 1.0
    seed: int = 0


def burst(pods: Sequence[Pod], count: int) -> list[int]:
    """How many of so many requests each pod gets, when none of them ends."""
    before = [pod.in_flight for pod in pods]
    for turn in range(count):
        found = least_busy(pods, tried=(), turn=turn)
        if found is not None:
            found.in_flight += 1
    return [pod.in_flight - had for pod, had in zip(pods, before, strict=True)]


def test_a_new_one_gets_its_part_and_no_burst():
    warm = [Pod(20) for _ in range(3)]

    assert burst([*warm, Pod(warmth=LEAST)], 12)[3] == 2
    assert burst([Pod(20), Pod(20), Pod(20), Pod(warmth=0.5)], 12)[3] == 10
    assert burst([Pod(20), Pod(20), Pod(20), Pod()], 12)[3] == 12  # what it would have without


def test_when_the_others_are_full_it_takes_what_it_has_places_for():
    new = Pod(room=5, warmth=LEAST)

    assert burst([Pod(8, room=8), Pod(8, room=8), new], 9) == [0, 0, 5]


ARRIVALS = {
    "beside a warm one": (1, 2, [1.0, LEAST, LEAST]),
    "all at once: each takes its part": (0, 3, [1.0, 1.0, 1.0]),
    "nobody": (2, 0, [1.0, 1.0]),
}


@pytest.mark.parametrize(("warm", "new", "want"), ARRIVALS.values(), ids=ARRIVALS)
def test_who_is_new(warm: int, new: int, want: list[float]):
    before = [Pod() for _ in range(warm)]
    now = [*before, *(Pod() for _ in range(new))]
    warmup: Warmup[Pod] = Warmup()
    warmup.arrive(before, now, 100.0)

    assert [pod.warmth for pod in now] == want
    assert len(warmup) == sum(weight < 1 for weight in want)


def test_the_weight_grows_to_the_whole_and_stays():
    old, new = Pod(), Pod()
    warmup: Warmup[Pod] = Warmup()
    warmup.arrive([old], [old, new], 100.0)
    seen = []
    for second in range(0, 12, 2):
        warmup.arrive([old, new], [old, new], 100.0 + second)  # a change elsewhere begins nothing anew
        seen.append(new.warmth)

    assert seen == pytest.approx([LEAST, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert len(warmup) == 0


def test_new_ones_that_are_left_alone_are_whole_at_once():
    old, new, newer = Pod(), Pod(), Pod()
    warmup: Warmup[Pod] = Warmup()
    warmup.arrive([old], [old, new], 100.0)
    warmup.arrive([old, new], [old, new, newer], 103.0)
    warmup.arrive([old, new, newer], [new, newer], 104.0)

    assert (new.warmth, newer.warmth, len(warmup)) == (1.0, 1.0, 0)


def test_one_that_goes_while_it_is_new_leaves_nothing():
    old, new = Pod(), Pod()
    warmup: Warmup[Pod] = Warmup()
    warmup.arrive([old], [old, new], 100.0)
    warmup.arrive([old, new], [old], 101.0)

    assert (new.warmth, len(warmup)) == (1.0, 0)


LOADS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6)


@given(LOADS, st.integers(0, 20))
def test_where_none_is_new_it_chooses_as_ever(loads: list[tuple[int, int]], turn: int):
    pods = [Pod(busy, room=room) for busy, room in loads]

    assert least_busy(pods, tried=(), turn=turn) is choose.least_busy(pods, tried=(), turn=turn)


@given(LOADS, st.lists(st.floats(LEAST, 1), min_size=6, max_size=6), st.none() | st.integers(0, 20))
def test_whoever_has_a_place_gets_it_and_nobody_more_than_places(
    loads: list[tuple[int, int]], weights: list[float], wanted: int | None
):
    pods = [
        Pod(busy, room, weight, seed)
        for seed, ((busy, room), weight) in enumerate(zip(loads, weights, strict=False))
    ]
    found = choose_of(pods, tried=(), turn=3, wanted=wanted)

    assert (found is None) == all(pod.in_flight >= pod.room for pod in pods)
    assert found is None or found.in_flight < found.room


@given(st.integers(1, 6), st.integers(1, 4), st.integers(12, 60), st.floats(0, WINDOW_S))
def test_a_new_one_never_starves_nor_is_busier_than_its_part(warm: int, new: int, busy: int, age_s: float):
    old = [Pod(busy, room=10_000) for _ in range(warm)]
    young = [Pod(room=10_000) for _ in range(new)]
    warmup: Warmup[Pod] = Warmup()
    warmup.arrive(old, [*old, *young], 100.0)
    warmup.ramp(100.0 + age_s)
    burst([*old, *young], 2 * (warm + new) * busy)

    most = max(pod.in_flight for pod in old)
    for pod in young:
        assert 1 <= pod.in_flight <= max(1.0, pod.warmth * (most + 1))


def test_conversations_move_to_a_new_one_step_by_step():
    pods = [Pod(10, seed=affinity.seed(str(at))) for at in range(3)]
    new = Pod(seed=affinity.seed("new"))

    def taken(warmth: float) -> int:
        new.warmth, new.in_flight = warmth, 0
        counts: Counter[int] = Counter()
        for key in range(200):
            found = choose_of([*pods, new], tried=(), turn=0, wanted=affinity.seed(str(key)))
            assert found is not None
            counts[id(found)] += 1
            new.in_flight += found is new
        return counts[id(new)]

    assert taken(LEAST) == 1
    assert taken(0.5) == 5
    assert taken(1.0) > 5
