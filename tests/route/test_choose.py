"""Weights become shares, unready replicas get nothing, and a failing request does not multiply."""

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import choose


@dataclass(eq=False)
class Pod:
    in_flight: int = 0
    room: int = 100


ENTRIES = {
    "all to the first": ([1000, 0], 0.999, 0),
    "none to the first": ([0, 1000], 0.0, 1),
    "just below the border": ([700, 300], 0.6999, 0),
    "on the border": ([700, 300], 0.7, 1),
    "a zero in the middle is skipped": ([500, 0, 500], 0.5, 2),
    "no weight at all means the first": ([0, 0], 0.5, 0),
}


@pytest.mark.parametrize(("weights", "spin", "want"), ENTRIES.values(), ids=ENTRIES)
def test_entry(weights: list[int], spin: float, want: int):
    assert choose.entry(choose.bounds(weights), spin) == want


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.integers())
def test_shares_converge_to_weights(weights: list[int], seed: int):
    bounds, random, draws = choose.bounds(weights), Random(seed), 2000
    counts = Counter(choose.entry(bounds, random.random()) for _ in range(draws))

    for index, weight in enumerate(weights):
        share = weight / sum(weights) if sum(weights) else float(index == 0)
        # Six standard deviations of a binomial: a wrong law fails, chance does not.
        assert abs(counts[index] - draws * share) <= 6 * (draws * share * (1 - share)) ** 0.5 + 1
        assert weight or not counts[index] or not sum(weights)


@given(st.integers(1, 8), st.data())
def test_fallback_visits_every_step_once_and_begins_at_the_entry(count: int, data: st.DataObject):
    start = data.draw(st.integers(0, count - 1))
    order = choose.fallback(range(count), start)

    assert sorted(order) == list(range(count))
    assert order[0] == start
    assert order[1:] == (*range(start + 1, count), *range(start - 1, -1, -1))


def test_fewest_in_flight_wins_and_ties_rotate():
    pods = [Pod(2), Pod(1), Pod(1)]

    assert [
        pods.index(found) for turn in range(4) if (found := choose.least_busy(pods, tried=(), turn=turn))
    ] == [1, 1, 2, 1]
    assert choose.least_busy(pods, tried=pods, turn=0) is None
    assert choose.least_busy([], tried=(), turn=3) is None


def test_a_replica_without_room_is_not_chosen():
    full, busy, out = Pod(2, room=2), Pod(4, room=5), Pod(0, room=0)

    assert choose.least_busy([full, busy, out], tried=(), turn=0) is busy
    assert choose.least_busy([full, out], tried=(), turn=0) is None


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=6), st.integers(0, 100))
def test_tries_are_bounded_and_never_repeat(loads: list[list[int]], turn: int):
    tiers = [tuple(Pod(load) for load in tier) for tier in loads]
    tries: choose.Tries[tuple[Pod, ...], Pod] = choose.Tries(tiers, turn=turn)
    tried: list[tuple[int, Pod]] = []
    while (step := tries.step()) is not None:
        pod = choose.least_busy(step, tried=tries.tried, turn=turn)
        if pod is None or len(tries.tried) == choose.ATTEMPTS_PER_TIER:
            tries.move_on()
        else:
            tried.append((tiers.index(step), pod))
            tries.began(pod)

    assert len({id(pod) for _, pod in tried}) == len(tried)
    assert [index for index, _ in tried] == sorted(index for index, _ in tried)
    # A request is given up only when nothing is left to try.
    reachable = sum(min(len(tier), choose.ATTEMPTS_PER_TIER) for tier in tiers)
    assert len(tried) == min(reachable, choose.ATTEMPTS_MAX)


def test_moving_on_leaves_what_was_tried_behind():
    tries: choose.Tries[str, Pod] = choose.Tries(["small", "big"], turn=0)
    tries.began(Pod())
    tries.move_on()

    assert (tries.step(), tries.tried) == ("big", [])
    assert (tries.seen(), tries.rest()) == (["small", "big"], [])
    tries.stop()
    assert tries.step() is None


def test_a_request_skips_to_the_steps_that_are_left_for_it():
    tries: choose.Tries[str, Pod] = choose.Tries(["small", "medium", "big"], turn=0)

    assert tries.skip_to(["big"])
    assert tries.step() == "big"
    assert not tries.skip_to([])
    assert tries.step() == "big"
