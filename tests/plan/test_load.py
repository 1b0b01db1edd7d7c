import math
from dataclasses import replace

import pytest

from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import Answers, CascadeLoad, Kept

CALM = Answers(
    20.0,
    ttft=Buckets((0.5, 1.0, math.inf), (8.0, 10.0, 10.0), 4.0),
    itl=Buckets((0.05, 0.1, math.inf), (90.0, 100.0, 100.0), 4.0),
)
IDLE = Buckets((0.5, math.inf), (0.0, 0.0), 0.0)
CASES = {
    "both objectives: the smaller share": (CALM, 0.5, 0.05, Kept(20.0, 16.0)),
    "between two edges: in proportion": (CALM, 0.75, 0.05, Kept(20.0, 18.0)),
    "the first token alone": (CALM, 0.5, None, Kept(20.0, 16.0)),
    "no objective: all are good": (CALM, None, None, Kept(20.0, 20.0)),
    "nothing streamed: nobody was late": (replace(CALM, ttft=IDLE, itl=IDLE), 0.5, 0.05, Kept(20.0, 20.0)),
    "nobody measured: nothing is known": (replace(CALM, ttft=None), 0.5, 0.05, None),
    "nobody measured what nobody asks": (replace(CALM, itl=None), 0.5, None, Kept(20.0, 16.0)),
}


@pytest.mark.parametrize(("answers", "ttft_s", "itl_s", "want"), CASES.values(), ids=CASES)
def test_kept(answers: Answers, ttft_s: float | None, itl_s: float | None, want: Kept | None):
    assert answers.kept(ttft_s=ttft_s, itl_s=itl_s) == want
    assert CascadeLoad(answers=answers).kept(ttft_s=ttft_s, itl_s=itl_s) == want


def test_who_counted_nothing_kept_nothing():
    assert CascadeLoad().kept(ttft_s=1.0, itl_s=None) is None
