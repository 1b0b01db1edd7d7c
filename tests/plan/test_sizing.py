"""What one replica carries."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives, capacity, carried, step_s, ttft_s

ENGINE = PROFILES["8b-h100"]
CALM = Lengths(prompt=512, output=128)
WIDE = Objectives(ttft_s=30.0, itl_s=30.0)


@pytest.mark.parametrize(
    ("lengths", "goals", "bound"),
    [
        pytest.param(CALM, WIDE, "Sequences", id="wide goals leave the batch as the limit"),
        pytest.param(CALM, Objectives(30.0, 0.02), "ITL", id="a tight gap between tokens limits the batch"),
        pytest.param(CALM, Objectives(0.03, 30.0), "TTFT", id="a tight first token limits the steps"),
        pytest.param(Lengths(6000, 128), WIDE, "KVCache", id="long prompts fill the memory first"),
        pytest.param(
            CALM, Objectives(0.01, 30.0), "TTFT", id="a first token faster than its own prompt: nothing"
        ),
    ],
)
def test_bound(lengths: Lengths, goals: Objectives, bound: str):
    assert capacity(ENGINE, lengths, goals).bound == bound


def test_saturation_is_what_was_measured():
    # 51.7 requests per second of 512 + 128 tokens, open loop on one H100.
    assert capacity(ENGINE, CALM, WIDE).rate_rps == pytest.approx(51.7, rel=0.03)


@pytest.mark.parametrize(
    ("places", "share"),
    [
        pytest.param(8, 5 / 8, id="of few places many are left to chance"),
        pytest.param(256, 240 / 256, id="of many few"),
    ],
)
def test_places_are_not_planned_to_be_full(places: int, share: float):
    found = carried(replace(ENGINE, sequences_max=places), CALM, WIDE)

    assert found.under_way == pytest.approx(share * places, rel=0.01)
    assert found.bound == "Sequences"


def test_a_goal_below_an_unloaded_replica_has_no_capacity():
    assert capacity(ENGINE, CALM, Objectives(ttft_s=0.01, itl_s=1.0)).rate_rps == 0


def test_cached_prompts_cost_no_prefill():
    warm = capacity(ENGINE, Lengths(512, 128, cached=400), Objectives(1.0, 0.03))

    assert warm.rate_rps > 1.5 * capacity(ENGINE, CALM, Objectives(1.0, 0.03)).rate_rps


@given(
    prompt=st.integers(1, 8000),
    output=st.integers(1, 1000),
    itl_s=st.floats(0.008, 0.2),
    ttft=st.floats(0.05, 10),
)
def test_at_its_capacity_a_replica_keeps_both_goals(prompt: int, output: int, itl_s: float, ttft: float):
    lengths = Lengths(prompt, output)
    found = capacity(ENGINE, lengths, Objectives(ttft, itl_s))

    if found.rate_rps > 0:
        assert step_s(ENGINE, lengths, found.rate_rps) <= itl_s * 1.000001
        assert ttft_s(ENGINE, lengths, found.rate_rps) <= ttft * 1.000001
