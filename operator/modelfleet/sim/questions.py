"""How requests fare at a tier that judges its answers: scores from a file of the user's, or made up."""

import math
from collections.abc import Mapping, Sequence
from random import Random

from modelfleet.sim.fleet import Question

_QUESTIONS = 2000
SCORE_MEDIAN, _SCORE_SPREAD = 0.3, 0.8  # of made-up scores: minus a lognormal


def made_up(tiers: int) -> list[Question]:
    """Questions whose scores are lognormal, and of which nobody knows who answers them right."""
    random = Random(0)

    def score() -> float:
        return -SCORE_MEDIAN * math.exp(random.gauss(0.0, _SCORE_SPREAD))

    return [Question(tuple(score() for _ in range(tiers))) for _ in range(_QUESTIONS)]


def questions(rows: Sequence[Mapping[str, str]], steps: Sequence[str]) -> list[Question]:
    """From rows with a score for each step, and, where it is known, `STEP:right` as 1 or 0.  Raises ValueError."""
    found = []
    for number, row in enumerate(rows, start=2):
        missing = [step for step in steps if not row.get(step)]
        if missing:
            raise ValueError(
                f"line {number} has no score of tier {missing[0]}: columns are {', '.join(steps)}"
            )
        try:
            scores = tuple(float(row[step]) for step in steps)
        except ValueError as err:
            raise ValueError(f"line {number}: {err}") from None
        right = tuple(row[f"{step}:right"] == "1" for step in steps) if f"{steps[0]}:right" in row else ()
        found.append(Question(scores, right))
    if not found:
        raise ValueError("it has no rows")
    return found
