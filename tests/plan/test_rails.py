"""From a wish to an order: what may hold it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.rails import Course, Facts, Wish, settle

CALM = Facts(
    now_s=10_000.0,
    replicas=4,
    ready=4,
    starting=0,
    stuck=0,
    replicas_min=1,
    replicas_max=10,
    waiting=0.0,
    kv=0.3,
    load=1.5,
    down_s=300.0,
)
FEWER, SAME, MORE = Wish(2, "Together"), Wish(4, "Together"), Wish(6, "Together")
UNSEEN = Course()
QUIET = Course(((9450.0, 2),))  # for longer than a window
FLAPPING = Course(changes=tuple((9000.0 + 50 * at, 1 if at % 2 else -1) for at in range(8)))


@pytest.mark.parametrize(
    ("wish", "facts", "course", "want"),
    [
        pytest.param(SAME, CALM, QUIET, (4, "Fits"), id="the load fits: keeps four"),
        pytest.param(Wish(4, "Minimum"), CALM, QUIET, (4, "AtMinimum"), id="at the minimum: says so"),
        pytest.param(MORE, CALM, QUIET, (6, "LoadAhead"), id="more will come: grows at once"),
        pytest.param(MORE, replace(CALM, ready=2, starting=2), QUIET, (6, "LoadAhead"), id="pods that start do not block growth"),
        pytest.param(FEWER, CALM, QUIET, (2, "LoadFits"), id="less all the time: shrinks"),
        pytest.param(FEWER, CALM, UNSEEN, (4, "StabilizationWindow"), id="nothing was seen before: waits"),
        pytest.param(FEWER, CALM, Course(((9000.0, 2),)), (4, "StabilizationWindow"), id="nothing was seen for long: waits"),
        pytest.param(FEWER, CALM, Course(((9900.0, 4),)), (4, "StabilizationWindow"), id="less since a moment: waits"),
        pytest.param(FEWER, CALM, Course(((9650.0, 4),)), (2, "LoadFits"), id="less since a window: shrinks"),
        pytest.param(FEWER, CALM, replace(FLAPPING, wishes=((9650.0, 4),)), (4, "StabilizationWindow"), id="a tier that flaps waits twice as long"),
        pytest.param(FEWER, CALM, Course(((9900.0, 3),)), (3, "LoadFits"), id="goes as far down as all of the window allows"),
        pytest.param(FEWER, replace(CALM, load=1.9), QUIET, (3, "LoadFits"), id="two could not carry what runs: three stay"),
        pytest.param(FEWER, replace(CALM, load=2.8), QUIET, (4, "WouldNotFit"), id="nor could three: all stay"),
        pytest.param(Wish(1, "Together"), replace(CALM, load=0.5), QUIET, (2, "LoadFits"), id="one could not hold what is in memory: two stay"),
        pytest.param(FEWER, replace(CALM, kv=0.6), QUIET, (4, "WouldNotFit"), id="no fewer could hold what is in memory: all stay"),
        pytest.param(FEWER, replace(CALM, ready=2, starting=2, kv=0.79), QUIET, (4, "WouldNotFit"), id="pods that start hold nothing yet: all stay"),
        pytest.param(FEWER, replace(CALM, waiting=9.0), QUIET, (4, "WouldNotFit"), id="requests wait: stays"),
        pytest.param(FEWER, replace(CALM, ready=1, starting=3), QUIET, (4, "PodsStarting"), id="pods that start have proven nothing: stays"),
        pytest.param(SAME, replace(CALM, kv=0.85), QUIET, (5, "EngineFull"), id="memory is full: one more, whatever the model says"),
        pytest.param(SAME, replace(CALM, waiting=21.0), QUIET, (5, "EngineFull"), id="queues are full: one more"),
        pytest.param(SAME, replace(CALM, waiting=21.0, ready=3, starting=1), QUIET, (4, "Fits"), id="queues are full and help is coming: waits for it"),
        pytest.param(SAME, replace(CALM, stuck=1), QUIET, (5, "LoadAhead"), id="a pod that never comes is replaced"),
        pytest.param(Wish(50, "Together"), CALM, QUIET, (10, "LoadAhead"), id="never beyond the maximum"),
        pytest.param(FEWER, replace(CALM, replicas=12), QUIET, (10, "AboveMaximum"), id="the user lowered the maximum"),
        pytest.param(Wish(3, "Budget", most=3), replace(CALM, waiting=99.0), QUIET, (3, "AboveBudget"), id="no money for what runs: gives it up, whatever waits"),
        pytest.param(Wish(4, "Budget", most=4), replace(CALM, kv=0.9), QUIET, (4, "AtBudget"), id="no money for more: not even when memory is full"),
        pytest.param(Wish(1, "Budget", most=1), replace(CALM, replicas_min=3), QUIET, (3, "AboveBudget"), id="no money at all: the minimum stays"),
        pytest.param(MORE, replace(CALM, replicas_min=5), QUIET, (5, "BelowMinimum"), id="the user raised the minimum"),
    ],
)  # fmt: skip
def test_settle(wish: Wish, facts: Facts, course: Course, want: tuple[int, str]):
    verdict, _ = settle(wish, facts, course)

    assert (verdict.replicas, verdict.reason) == want


facts = st.builds(
    Facts,
    now_s=st.just(10_000.0),
    replicas=st.integers(0, 12),
    ready=st.integers(0, 12),
    starting=st.integers(0, 6),
    stuck=st.integers(0, 2),
    replicas_min=st.integers(0, 3),
    replicas_max=st.integers(3, 10),
    waiting=st.floats(0, 1000),
    kv=st.floats(0, 1),
    load=st.floats(0, 20),
    down_s=st.floats(0, 600),
)
courses = st.builds(
    Course,
    st.lists(st.tuples(st.floats(9000, 10_000), st.integers(0, 12))).map(tuple),
    st.lists(st.tuples(st.floats(5000, 10_000), st.sampled_from([-1, 1]))).map(tuple),
)


@given(st.integers(0, 20), facts, courses)
def test_always_within_the_bounds(wanted: int, seen: Facts, course: Course):
    verdict, after = settle(Wish(wanted, "Together"), seen, course)

    assert seen.replicas_min <= verdict.replicas <= seen.replicas_max
    assert len(after.wishes) <= max(1, len(course.wishes)) + 1


@given(st.integers(0, 20), facts, courses)
def test_who_asks_for_more_never_gets_less(wanted: int, seen: Facts, course: Course):
    less, _ = settle(Wish(wanted, "Together"), seen, course)
    more, _ = settle(Wish(wanted + 1, "Together"), seen, course)

    assert more.replicas >= less.replicas or less.reason == "EngineFull"


@given(st.integers(0, 20), facts, courses)
def test_what_stays_takes_over_what_runs_and_no_fewer_could(wanted: int, seen: Facts, course: Course):
    verdict, after = settle(Wish(wanted, "Together"), seen, course)

    if verdict.reason == "LoadFits":
        assert seen.load <= verdict.replicas < seen.replicas
        asked = max(
            n for at_s, n in after.wishes if at_s > seen.now_s - 2 * seen.down_s or at_s == seen.now_s
        )
        assert verdict.replicas <= max(asked, seen.load / 0.9 + 1, seen.kv * seen.ready / 0.72 + 1)
