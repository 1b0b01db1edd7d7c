"""Scores of judged answers, from a file or made up."""

from statistics import median

import pytest

from modelfleet.sim.fleet import Question
from modelfleet.sim.questions import made_up, questions


def test_a_row_is_a_question():
    rows = [
        {"small": "-0.2", "big": "0", "small:right": "1", "big:right": "0"},
        {"small": "-3", "big": "0", "small:right": "0", "big:right": "1"},
    ]

    assert questions(rows, ["small", "big"]) == [
        Question((-0.2, 0.0), (True, False)),
        Question((-3.0, 0.0), (False, True)),
    ]


def test_who_is_right_need_not_be_known():
    assert questions([{"small": "-0.2", "big": "0"}], ["small", "big"]) == [Question((-0.2, 0.0))]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param([], "it has no rows", id="an empty file"),
        pytest.param([{"small": "-1"}], "line 2 has no score of tier big: columns are small, big", id="a tier is missing"),
        pytest.param([{"small": "-1", "big": "x"}], "line 2: could not convert", id="no number"),
    ],
)  # fmt: skip
def test_a_file_that_says_too_little(rows: list[dict[str, str]], says: str):
    with pytest.raises(ValueError, match=says):
        questions(rows, ["small", "big"])


def test_made_up_scores_are_log_probabilities_and_always_the_same():
    found = made_up(2)

    assert all(score < 0 for one in found for score in one.scores)
    assert median(one.scores[0] for one in found) == pytest.approx(-0.3, abs=0.03)
    assert found == made_up(2)
