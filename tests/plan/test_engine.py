"""How long steps last: the closed forms, and the recordings they were fitted to."""

import json
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.profiles import PROFILES

ENGINE = PROFILES["8b-h100"]
RECORDED = json.loads((Path(__file__).parents[1] / "fixtures" / "vllm_h100_8b.json").read_text())

batches = st.integers(1, 256)
contexts = st.integers(1, 400_000)


@given(steps=st.integers(1, 2000), sequences=batches, context=contexts)
def test_many_steps_at_once_are_the_same_steps_one_by_one(steps: int, sequences: int, context: int):
    one_by_one = sum(ENGINE.decode_step_s(sequences, context + at * sequences) for at in range(steps))

    assert ENGINE.decode_steps_s(steps, sequences, context) == pytest.approx(one_by_one)


@given(steps=st.floats(0.1, 2000), sequences=batches, context=contexts)
def test_steps_in_a_time_are_the_inverse_of_the_time_of_steps(steps: float, sequences: int, context: int):
    seconds = ENGINE.decode_steps_s(steps, sequences, context)

    assert ENGINE.decode_steps_in(seconds, sequences, context) == pytest.approx(steps, rel=1e-6)


def test_decode_steps_are_as_recorded():
    off = [
        abs(
            ENGINE.decode_step_s(point["batch"], point["mean_total_context_tokens"]) / point["step_used_s"]
            - 1
        )
        for point in RECORDED["decode_grid"]
    ]

    assert median(off) < 0.02
    assert max(off) < 0.05


def test_log_probabilities_of_all_sequences_cost_their_share_of_every_step():
    slow = PROFILES["8b-h100"].__class__(**{**_fields(), "logprob_slowdown": 0.2})

    assert slow.slowed(1.0).decode_step_s(8, 4000) == pytest.approx(1.2 * ENGINE.decode_step_s(8, 4000))
    assert slow.slowed(0.0).decode_step_s(8, 4000) == pytest.approx(ENGINE.decode_step_s(8, 4000))


def _fields() -> dict[str, float | str]:
    return {name: getattr(ENGINE, name) for name in ENGINE.__dataclass_fields__}
