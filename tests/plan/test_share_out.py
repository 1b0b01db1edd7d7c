from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.share_out import bind, divide, move, pass_on


def test_bind_leaves_alone_what_fits():
    assert bind({"a": 700, "b": 300}, {"a": (0, 1000), "b": (0, 1000)}) == {"a": 700, "b": 300}


def test_bind_raises_to_the_minimum_at_the_cost_of_others():
    assert bind({"a": 1000, "b": 0}, {"a": (0, 1000), "b": (100, 1000)}) == {"a": 900, "b": 100}


def test_bind_lowers_to_the_maximum_in_favour_of_others():
    assert bind({"a": 1000, "b": 0}, {"a": (0, 400), "b": (0, 1000)}) == {"a": 400, "b": 600}


def test_bounds_that_cannot_hold_give_way_in_proportion():
    assert bind({"a": 500, "b": 500}, {"a": (0, 100), "b": (0, 300)}) == {"a": 250, "b": 750}
    assert bind({"a": 500, "b": 500}, {"a": (900, 1000), "b": (600, 1000)}) == {"a": 600, "b": 400}


def test_pass_on_goes_to_the_next_and_then_around():
    weights = {"a": 100, "b": 200, "c": 700}

    assert pass_on(weights, order="abc", to={"b"}) == {"a": 0, "b": 1000, "c": 0}
    assert pass_on(weights, order="abc", to={"a", "c"}) == {"a": 100, "b": 0, "c": 900}


def test_pass_on_leaves_those_who_keep_theirs():
    weights = {"a": 100, "b": 200, "c": 700}

    assert pass_on(weights, order="abc", to={"c"}, keep={"b"}) == {"a": 0, "b": 200, "c": 800}


def test_move_takes_no_more_than_the_limit_from_anybody():
    moved = move(
        {"a": 0, "b": 600, "c": 400},
        towards={"a": 1000, "b": 0, "c": 0},
        receivers=["a"],
        limit=100,
    )

    assert moved == {"a": 100, "b": 550, "c": 350}


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=8), st.floats(0, 1))
def test_divide_spends_exactly_the_amount_within_room(room: dict[str, int], part: float):
    amount = int(part * sum(room.values()))
    parts = divide(amount, room)

    assert sum(parts.values()) == amount
    assert all(0 <= parts[name] <= room[name] for name in parts)
