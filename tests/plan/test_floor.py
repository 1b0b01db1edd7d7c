"""What no number of replicas can keep."""

from dataclasses import replace

import pytest

from modelfleet.plan.floor import too_strict
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives, carried

ENGINE = replace(PROFILES["8b-h100"], step_s=0.01, first_token_s=0.02, step_s_per_prompt_token=0.0)
LENGTHS = Lengths(900, 150)
CALM = Objectives(1.0, 0.05)

CASES = {
    "both can be kept": (CALM, None),
    "a first token too soon": (replace(CALM, ttft_s=1e-6), "ttftP95 of 0.001ms, and an idle replica of big takes 35ms"),
    "tokens too fast": (replace(CALM, itl_s=0.005), "itlP95 of 5ms, and an idle replica of big takes 10ms"),
    "no objective for the first token": (replace(CALM, ttft_s=86_400.0), None),
}  # fmt: skip


@pytest.mark.parametrize(("goals", "want"), CASES.values(), ids=CASES)
def test_too_strict(goals: Objectives, want: str | None):
    assert too_strict("big", ENGINE, LENGTHS, goals) == want
    assert carried(ENGINE, LENGTHS, goals).known is (want is None)


def test_nothing_is_too_strict_while_nobody_knows_how_fast_it_is():
    assert too_strict("big", None, LENGTHS, Objectives(1e-6, 1e-6)) is None


def test_before_any_answer_only_the_time_between_tokens_is_known():
    assert too_strict("big", ENGINE, None, replace(CALM, ttft_s=1e-6)) is None
    found = too_strict("big", ENGINE, None, Objectives(1e-6, 0.005))

    assert found == "itlP95 of 5ms, and an idle replica of big takes 10ms"
