"""In whose turn a free place is given: by tokens between tenants, in order within one."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import fair
from modelfleet.route.fair import FairLine

Line = FairLine[str, str]


def line(*asks: tuple[str, str, float]) -> Line:
    """A line that these have joined: waiter, tenant, tokens."""
    made = Line()
    for waiter, tenant, tokens in asks:
        made.join(waiter, "", tenant=tenant, tokens=tokens)
    return made


def served(made: Line, count: int = 100) -> str:
    """Who gets the next places, in this order."""
    found = ""
    while len(made) and len(found) < count:
        waiter = next(made.in_turn())[0]
        made.serve(waiter)
        found += waiter
    return found


ORDERS = {
    "one tenant: in order of arrival": ([("a", "x", 9), ("b", "x", 1), ("c", "x", 5)], "abc"),
    "two alike: one after the other": ([("a", "x", 1), ("b", "x", 1), ("c", "y", 1), ("d", "y", 1)], "acbd"),
    "long ones: after as many tokens of others": (
        [("A", "x", 3), ("B", "x", 3), *((one, "y", 1) for one in "abcdef")],
        "AabcBdef",
    ),
    "one against two: a third each": (
        [("a", "x", 2), ("b", "x", 2), ("c", "y", 2), ("d", "y", 2), ("e", "z", 2), ("f", "z", 2)],
        "acebdf",
    ),
}


@pytest.mark.parametrize(("asks", "want"), ORDERS.values(), ids=ORDERS)
def test_order(asks: list[tuple[str, str, float]], want: str):
    assert served(line(*asks)) == want


def test_who_comes_later_is_not_paid_for_having_been_away():
    made = line(*((one, "x", 10) for one in "abcdef"))
    assert served(made, 3) == "abc"
    for one in "uvw":
        made.join(one, "", tenant="y", tokens=10)

    assert served(made) == "udvewf"


def test_who_took_more_than_was_guessed_waits_for_it():
    made = line(("a", "x", 1), ("b", "x", 1), *((one, "y", 1) for one in "uvwz"))
    assert served(made, 1) == "a"
    made.correct("x", 2.0)

    assert served(made) == "uvwbz"


def test_who_took_less_is_given_it_back():
    made = line(("a", "x", 4), ("b", "x", 1), ("c", "x", 1), *((one, "y", 1) for one in "uvwz"))
    assert served(made, 2) == "au"
    made.correct("x", -3.0)

    assert served(made) == "bvcwz"


def test_a_count_outlives_the_line():
    made = line(("a", "x", 100), ("u", "y", 1))
    assert served(made) == "au"
    for waiter, tenant in (("b", "x"), ("v", "y"), ("w", "y")):
        made.join(waiter, "", tenant=tenant, tokens=1)

    assert served(made) == "vwb"


def test_a_full_line_parts_with_the_last_one_of_who_has_most():
    made = line(("a", "x", 1), ("b", "x", 1), ("c", "x", 1), ("u", "y", 1))

    assert [made.gives_way(tenant) for tenant in ("x", "y", "z")] == [None, "c", "c"]
    made.quit("c")
    assert [made.gives_way(tenant) for tenant in ("x", "y", "z")] == [None, None, "b"]


AHEAD = {
    "nobody waits": ([], "x", 0),
    "one tenant: all of them": ([("a", "x", 5), ("b", "x", 5)], "x", 2),
    "a new one: one of each other": ([("a", "x", 5), ("b", "x", 5), ("c", "y", 1)], "z", 2),
    "behind one's own, and so many tokens of others": (
        [("a", "x", 2), *((one, "y", 1) for one in "uvwz")],
        "x",
        4,
    ),
}


@pytest.mark.parametrize(("asks", "tenant", "want"), AHEAD.values(), ids=AHEAD)
def test_ahead(asks: list[tuple[str, str, float]], tenant: str, want: int):
    assert line(*asks).ahead(tenant) == want


TOKENS = st.floats(1.0, 1e5)
TENANTS = st.sampled_from("xyz")
STEPS = st.one_of(
    st.tuples(st.just("join"), TENANTS, TOKENS),
    st.tuples(st.just("serve"), TENANTS, TOKENS),
    st.tuples(st.just("quit"), TENANTS, TOKENS),
    st.tuples(st.just("correct"), TENANTS, st.floats(-1e5, 1e5)),
)


@dataclass(frozen=True)
class Ask:
    number: int
    tenant: str


@given(st.lists(STEPS, max_size=80))
def test_everybody_is_served_once_and_in_order_within_a_tenant(steps: list[tuple[str, str, float]]):
    made, waiting, numbers = FairLine[Ask, None](), list[Ask](), itertools.count()
    for kind, tenant, tokens in steps:
        own = [ask for ask in waiting if ask.tenant == tenant]
        if kind == "join":
            waiting.append(Ask(next(numbers), tenant))
            made.join(waiting[-1], None, tenant=tenant, tokens=tokens)
        elif kind == "serve" and waiting:
            ask = next(made.in_turn())[0]
            assert ask == next(each for each in waiting if each.tenant == ask.tenant)
            made.serve(ask)
            waiting.remove(ask)
        elif kind == "quit" and own:
            made.quit(own[-1])
            waiting.remove(own[-1])
        elif kind == "correct":
            made.correct(tenant, tokens)
        assert list(made) == waiting
        assert len(made) == len(waiting)
        assert sorted(ask.number for ask, _ in made.in_turn()) == [ask.number for ask in waiting]
        assert made.tenants() == len({ask.tenant for ask in waiting})


@given(
    st.dictionaries(TENANTS, st.lists(TOKENS, min_size=30, max_size=30), min_size=2),
    st.integers(1, 29),
)
def test_share_of_those_who_always_wait(asks: dict[str, list[float]], places: int):
    """The law of start-time fair queuing, with places for as long as all of them wait."""
    made = FairLine[tuple[str, int], None]()
    for tenant, tokens in asks.items():
        for number, one in enumerate(tokens):
            made.join((tenant, number), None, tenant=tenant, tokens=one)
    given_tokens = dict.fromkeys(asks, 0.0)
    for _ in range(places):
        waiter = next(made.in_turn())[0]
        given_tokens[waiter[0]] += made.serve(waiter)
        for one, other in itertools.combinations(asks, 2):
            bound = max(asks[one]) + max(asks[other])
            assert abs(given_tokens[one] - given_tokens[other]) <= bound * (1 + 1e-9)


@given(st.lists(TOKENS, min_size=1, max_size=50), st.integers(1, 40), TOKENS)
def test_nobody_waits_for_ever(floods: list[float], before: int, tokens: float):
    """However many come after it: others get no more than its own turn and one request of theirs before it does."""
    made = FairLine[str, None]()
    for number in range(before):
        made.join(f"f{number}", None, tenant="flood", tokens=floods[number % len(floods)])
        if number < before - 1:
            made.serve(f"f{number}")
    made.join("me", None, tenant="me", tokens=tokens)
    passed = 0.0
    for number in range(before, before + 200):
        made.join(f"f{number}", None, tenant="flood", tokens=floods[number % len(floods)])
        waiter = next(made.in_turn())[0]
        if waiter == "me":
            break
        passed += made.serve(waiter)
    assert waiter == "me"
    assert passed <= max(floods)


@given(st.lists(TENANTS, max_size=200), st.integers(1, 12))
def test_a_full_line_is_shared(comers: list[str], most: int):
    made, numbers = FairLine[int, None](), itertools.count()
    for tenant in comers:
        counts = {one: sum(made._seats[waiter][0] == one for waiter in made) for one in "xyz"}
        loser = made.gives_way(tenant) if len(made) >= most else None
        if loser is not None:
            made.quit(loser)
        elif len(made) >= most:
            assert counts[tenant] + 1 >= max(counts.values()), "refused though others have far more"
            continue
        made.join(next(numbers), None, tenant=tenant, tokens=1.0)
        assert len(made) <= most


def test_guess_is_made_of_the_length_and_the_answer_that_it_allows():
    assert fair.guess(400_000, {}) > 100 * fair.guess(400, {"max_tokens": 200})
    assert fair.guess(400, {"max_tokens": 16}) == 100 + 32
    assert fair.guess(400, {"max_completion_tokens": 1 << 20}) == 100 + 2 * fair.ANSWER_TOKENS
    assert fair.cost((100, 50)) == 200
