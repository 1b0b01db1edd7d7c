"""Engines that are not as their profile says."""

from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.bias import SAMPLES_MAX, factor, remember, slowness


def learned(ratios: list[float]) -> float:
    samples: tuple[float, ...] = ()
    for ratio in ratios:
        samples = remember(samples, ratio)
    return factor(samples)


def test_a_slow_engine_is_found_out():
    assert abs(learned([1.2, 1.19, 1.21] * 5) - 1.2) < 0.02


def test_one_mad_sample_changes_nothing():
    assert abs(learned([1.0, 1.01, 0.99] * 5 + [50.0]) - 1.0) < 0.02


def test_a_change_that_stays_is_learned():
    assert learned([1.0, 1.01, 0.99] * 5 + [1.3] * 80) > 1.2


@given(st.floats(0.7, 1.4), st.floats(0.05, 0.7))
def test_slowness_is_found_at_any_load(slow: float, load: float):
    step_s = slow * 0.006 / (1 - slow * load) if slow * load < 1 else 1.0

    assert slow * load >= 1 or abs(slowness(step_s, empty_s=0.006, load=load) - slow) < 1e-9


def test_little_knowledge_is_none():
    assert learned([3.0] * 3) == 1.0


@given(st.lists(st.floats(0, 1e6), max_size=100))
def test_never_out_of_this_world(ratios: list[float]):
    assert 0.6 <= learned(ratios) <= 1.8


@given(st.lists(st.floats(0.1, 10), max_size=100))
def test_memory_is_bounded(ratios: list[float]):
    samples: tuple[float, ...] = ()
    for ratio in ratios:
        samples = remember(samples, ratio)

    assert len(samples) <= SAMPLES_MAX
