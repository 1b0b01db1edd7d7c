"""The arithmetic of the capacity experiment, and its quick version."""

from pathlib import Path

import pytest

from bench.capacity import ahead, bound
from bench.capacity.cells import Cell, Cells
from bench.capacity.experiment import Experiment
from bench.capacity.fronts import Point, best_peer, level, need, tuned
from bench.capacity.measure import NAMES, figure, rank
from bench.capacity.quality import MODELS, QUESTIONS, bars, questions
from bench.capacity.quick import GRIDS, check
from modelfleet.sim.fleet import Question

CELL = Cell("one", "synthetic-1", "hpa", (0.7,))
FRONT = [Point(0.98, 100.0), Point(0.99, 110.0), Point(0.999, 150.0)]


@pytest.mark.parametrize(
    ("attainment", "gpu_h"),
    [
        pytest.param(0.99, 110.0, id="a point of the front"),
        pytest.param(0.985, 105.0, id="between two points"),
        pytest.param(0.5, 100.0, id="below all: the cheapest, for nobody knows what less would cost"),
        pytest.param(0.9999, None, id="above all: nothing"),
    ],
)
def test_what_an_attainment_costs(attainment: float, gpu_h: float | None):
    assert need(FRONT, attainment) == (None if gpu_h is None else pytest.approx(gpu_h))


def test_a_point_that_costs_more_and_serves_less_is_no_bargain():
    assert need([*FRONT, Point(0.985, 300.0)], 0.99) == 110.0


def test_what_nobody_can_undercut_spends_misses_where_they_spare_most():
    cheap, dear = [(1.0, 0.0), (0.9, 0.01)], [(4.0, 0.0), (2.0, 0.01)]

    assert bound.least([cheap], 0.02) == 0.9
    assert bound.least([cheap, dear], 0.01) == 3.0
    assert bound.least([cheap, dear], 0.02) == pytest.approx(2.9)
    assert bound.least([[(1.0, 0.1)], dear], 0.02) is None


def test_both_sides_must_reach_the_level():
    assert level(FRONT, {"hpa": [Point(0.95, 1.0)]}) == 0.95
    assert best_peer({"hpa": [Point(0.95, 1.0)], "kubeai": FRONT}, 0.99) == ("kubeai", 110.0)
    assert best_peer({"hpa": [Point(0.95, 1.0)]}, 0.99) is None


def test_tuning_takes_the_cheapest_that_reaches_the_goal_else_the_nearest():
    assert tuned(FRONT, 0.985).gpu_h == 110.0
    assert tuned(FRONT, 1.0).gpu_h == 150.0


def test_a_figure_has_its_mean_first_and_says_when_a_target_is_missed():
    mean, day, other = figure(NAMES[0], {"a": 30.0, "b": 4.0}, "%", at_least=20)

    assert (mean.value, mean.low, mean.high, mean.met) == (17.0, 4.0, 30.0, False)
    assert [day.met, other.met] == [True, False]
    assert rank(day.name) == rank(mean.name) == 0


def test_what_was_not_run_is_said():
    (nothing,) = figure(NAMES[0], {}, "%", at_least=20)

    assert nothing.value is None
    assert nothing.why


def test_bars_send_least_to_the_api_that_keeps_the_floor():
    unsure = Question((0.2, 0.9, 1.0), (False, True, True))  # the second tier knows, and says so
    sure = Question((0.9, 0.9, 1.0), (True, True, True))
    first, second = bars([unsure, sure] * 50, floor=1.0)

    assert 0.2 < first <= 0.9
    assert second <= 0.9


def test_answers_of_real_models_are_read(tmp_path: Path):
    fields = [f"{model}:{what}" for model in MODELS for what in ("grade", "conf")]
    path = tmp_path / QUESTIONS
    path.parent.mkdir()
    path.write_text(",".join(["q", *fields]) + "\n0,1,0.5,0,0.25,-1,0\n")

    assert questions(tmp_path) == [Question((0.5, 0.25, 0.0), (True, False, False))]


def test_what_is_asked_for_is_found_without_running_it(tmp_path: Path):
    late = Cells(tmp_path, None, seconds=0.0)

    assert late.wanted(lambda: Experiment(late).point(CELL)) == [CELL]
    assert late.run(CELL) is None


def test_processes_run_it_and_one_keeps_it(tmp_path: Path):
    cells = Cells(tmp_path, None, seconds=600.0)

    ahead.run(cells, lambda x: x.point(CELL), jobs=2)

    found = Experiment(Cells(tmp_path, None, seconds=0.0)).point(CELL)
    assert found is not None
    assert found.attainment > 0.9


def test_the_directions_hold(tmp_path: Path):
    assert check(Experiment(Cells(tmp_path, None, seconds=1800.0), grids=GRIDS)) == []
