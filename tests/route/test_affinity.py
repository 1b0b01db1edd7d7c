"""Like beginnings meet at one replica, and no replica drowns in them."""

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import affinity, choose


@dataclass(eq=False)
class Pod:
    name: str
    in_flight: int = 0
    room: int = 100
    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)

    @property
    def seed(self) -> int:
        return affinity.seed(self.name)


def _pods(count: int) -> list[Pod]:
    return [Pod(f"10.0.0.{number}:8000") for number in range(count)]


def _user(text: object) -> dict[str, Any]:
    return {"role": "user", "content": text}


SYSTEM = {"role": "system", "content": "You are helpful. " * 50}
BASE = {"messages": [SYSTEM, _user("Tell me of Bern.")]}
LIKE = {
    "the conversation went on": {"messages": [*BASE["messages"], {"role": "assistant", "content": "It"}]},
    "other settings": {**BASE, "temperature": 0.7, "model": "other"},
    "in parts": {"messages": [SYSTEM, _user([{"type": "text", "text": "Tell me of Bern."}])]},
}
UNLIKE = {
    "another question": {"messages": [SYSTEM, _user("Tell me of Rome.")]},
    "another system prompt": {"messages": [{"role": "system", "content": "No."}, _user("Tell me of Bern.")]},
    "no system prompt": {"messages": [_user("Tell me of Bern.")]},
    "a prompt": {"prompt": "Tell me of Bern."},
}


@pytest.mark.parametrize("fields", LIKE.values(), ids=LIKE)
def test_like_beginnings_have_one_key(fields: dict[str, Any]):
    assert affinity.key(fields, 128) == affinity.key(BASE, 128)


@pytest.mark.parametrize("fields", UNLIKE.values(), ids=UNLIKE)
def test_unlike_beginnings_have_not(fields: dict[str, Any]):
    assert affinity.key(fields, 128) != affinity.key(BASE, 128)


def test_only_the_beginning_counts():
    long, longer = ({"prompt": "x" * length} for length in (128, 4000))

    assert affinity.key(long, 128) == affinity.key(longer, 128)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_whatever_a_client_sends_has_a_key(value: Any):
    for fields in (
        {"messages": value},
        {"messages": [value]},
        {"messages": [_user(value)]},
        {"prompt": value},
    ):
        assert 0 <= affinity.key(fields, 10) < 1 << 64


def test_keys_spread_evenly():
    pods, draws = _pods(8), 8000
    counts = Counter(affinity.preferred(pods, tried=(), wanted=affinity.seed(str(n))) for n in range(draws))

    # Six standard deviations of a binomial.
    assert all(abs(counts[pod] - draws / 8) < 6 * (draws / 8 * 7 / 8) ** 0.5 for pod in pods)


def test_a_replica_that_goes_moves_only_its_own_keys():
    pods = _pods(6)
    keys = [affinity.seed(str(number)) for number in range(500)]
    before = [affinity.preferred(pods, tried=(), wanted=wanted) for wanted in keys]
    after = [affinity.preferred(pods[1:], tried=(), wanted=wanted) for wanted in keys]

    assert all(now is then for then, now in zip(before, after, strict=True) if then is not pods[0])
    assert len({now for then, now in zip(before, after, strict=True) if then is pods[0]}) == 5


def test_routers_agree_whatever_the_order():
    keys = [affinity.seed(str(number)) for number in range(100)]
    first, second = _pods(5), _pods(5)[::-1]
    chosen = [
        [pod.name for wanted in keys if (pod := affinity.preferred(pods, tried=(), wanted=wanted))]
        for pods in (first, second)
    ]

    assert chosen[0] == chosen[1]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.integers(0, 3), st.integers(0, (1 << 64) - 1))
def test_load_is_bounded(loads: list[int], tried: int, wanted: int):
    pods = _pods(len(loads))
    for pod, load in zip(pods, loads, strict=True):
        pod.in_flight = load
    chosen = affinity.preferred(pods, tried=pods[:tried], wanted=wanted)

    assert (chosen is None) == (tried >= len(pods))
    if chosen is not None and not tried:
        assert chosen.in_flight + 1 <= math.ceil(affinity.LOAD_FACTOR * (sum(loads) + 1) / len(loads))


def test_who_has_no_room_gets_nothing():
    pods = _pods(3)
    for pod in pods[:2]:
        pod.room = 0

    assert affinity.preferred(pods, tried=(), wanted=1) is pods[2]
    assert affinity.preferred(pods, tried=[pods[2]], wanted=1) is None
    assert affinity.preferred([], tried=(), wanted=1) is None


def _hits(choice: str) -> tuple[float, float]:
    """Share of requests whose beginning is in the cache, and the busiest replica's load by the mean."""
    random, pods, flying = Random(7), _pods(8), list[Pod]()
    hits, busiest = 0, 0.0
    for turn in range(20_000):
        wanted = affinity.seed(str(int(random.paretovariate(0.3)) % 1500))  # few are common
        if choice == "PrefixAffinity":
            pod = affinity.preferred(pods, tried=(), wanted=wanted)
        else:
            pod = choose.least_busy(pods, tried=(), turn=turn)
        assert pod is not None
        hits += wanted in pod.cache
        pod.cache[wanted] = None
        pod.cache.move_to_end(wanted)
        if len(pod.cache) > 60:
            pod.cache.popitem(last=False)
        pod.in_flight += 1
        flying.append(pod)
        if len(flying) > 64:
            flying.pop(random.randrange(len(flying))).in_flight -= 1
            busiest = max(busiest, max(pod.in_flight for pod in pods) / 8)
    return hits / 20_000, busiest


def test_affinity_finds_more_in_caches_and_stays_balanced():
    found, busiest = _hits("PrefixAffinity")
    before, _ = _hits("LeastInFlight")

    assert found > 1.2 * before
    assert busiest <= math.ceil(affinity.LOAD_FACTOR * 65 / 8) / 8
