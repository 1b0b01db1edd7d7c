"""What a request may cost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.route_table import Price
from modelfleet.route.purse import IMAGE_TOKENS, TEMPLATE_TOKENS, Purse

ANSWERS = Price(0.0, 1.0)  # 1 dollar for a million tokens of answers, nothing for prompts
PROMPTS = Price(1.0, 0.0)

BOUNDS: dict[str, tuple[Price | None, dict[str, Any], float]] = {
    "free": (None, {"max_tokens": 100}, 0),
    "an answer of known length": (ANSWERS, {"max_tokens": 100}, 100),
    "an answer of unknown length": (ANSWERS, {}, 0),
    "several answers": (ANSWERS, {"max_tokens": 100, "n": 3}, 300),
    "the best of several answers": (ANSWERS, {"max_tokens": 100, "n": 2, "best_of": 5}, 500),
    "several prompts": (ANSWERS, {"max_tokens": 100, "n": 2, "prompt": ["a", "b", "c"]}, 600),
    "a prompt of token ids is one": (ANSWERS, {"max_tokens": 100, "prompt": [1, 2, 3]}, 100),
    "two limits: the larger": (ANSWERS, {"max_tokens": 100, "max_completion_tokens": 1}, 100),
    "nonsense": (ANSWERS, {"max_tokens": 100, "n": "many"}, 100),
    "numbers that only some engines read as such": (ANSWERS, {"max_tokens": "1e2", "n": 3.0}, 300),
    "a limit in llama.cpp's words": (ANSWERS, {"max_tokens": 1, "n_predict": 100}, 100),
    "no limit in llama.cpp's words": (ANSWERS, {"max_tokens": -1}, 0),
    "no number at all": (ANSWERS, {"max_tokens": 100, "n": "nan"}, 100),
    "a prompt: a token a byte": (PROMPTS, {"max_tokens": 100}, 1000 + TEMPLATE_TOKENS),
    "an image": (
        PROMPTS,
        {"messages": [{"content": "a"}, {"content": [{"type": "image_url"}, {"type": "text"}]}]},
        1000 + TEMPLATE_TOKENS + IMAGE_TOKENS,
    ),
    "a film": (
        PROMPTS,
        {"messages": [{"content": [{"type": "video_url"}]}]},
        1000 + TEMPLATE_TOKENS + IMAGE_TOKENS,
    ),
}


@pytest.mark.parametrize(
    "many", [float("inf"), "inf", 10**400, 1e308], ids=["endless", "in a word", "whole", "broken"]
)
def test_no_limit_covers_a_number_beyond_all(many: Any):
    assert not Purse(1e12, {"max_tokens": many, "n": many}, 0).covers(ANSWERS)


@pytest.mark.parametrize(("price", "fields", "want"), BOUNDS.values(), ids=BOUNDS)
def test_what_an_attempt_costs_at_most(price: Price | None, fields: dict[str, Any], want: float):
    assert Purse(1e9, fields, 1000).bound(price) == want


def test_a_purse_covers_what_is_left():
    purse = Purse(150.0, {"max_tokens": 100}, 0)

    assert purse.covers(ANSWERS)
    assert not purse.covers(ANSWERS, after=ANSWERS)
    assert purse.covers(ANSWERS, after=None)
    purse.began(ANSWERS)
    assert not purse.covers(ANSWERS)
    assert purse.covers(None)


ENDS = {
    "it told its tokens: they are paid": ((0, 30), "Escalated", True),
    "it was turned away: nothing is paid": (None, "RateLimited", True),
    "nobody was there: nothing is paid": (None, "Refused", True),
    "it hung: it may have been at work": (None, "Timeout", False),
    "it broke off: it was at work": (None, "Truncated", False),
    "it was stopped: it did not tell": (None, "Escalated", False),
}


@pytest.mark.parametrize(("told", "outcome", "again"), ENDS.values(), ids=ENDS)
def test_what_an_attempt_leaves(told: tuple[int, int] | None, outcome: str, again: bool):  # noqa: FBT001 - a row
    purse = Purse(150.0, {"max_tokens": 100}, 0)
    purse.began(ANSWERS)
    if told is not None:
        purse.told(ANSWERS, told)
    purse.ended(outcome)

    assert purse.covers(ANSWERS) is again


PRICES = st.none() | st.builds(Price, st.floats(0, 100), st.floats(0, 100))
# An attempt: its price, which part of its bound it really costs, whether that is told, and how it ends.
ATTEMPTS = st.lists(
    st.tuples(PRICES, st.floats(0, 1), st.booleans(), st.sampled_from(["Escalated", "Timeout", "Reset"]))
)


@given(st.floats(1, 1e6), ATTEMPTS, st.integers(1, 200), st.integers(0, 5000))
def test_the_limit_holds_whatever_happens(
    limit: float, attempts: list[tuple[Price | None, float, bool, str]], answer: int, body: int
):
    purse = Purse(limit, {"max_tokens": answer}, body)
    paid = 0.0
    for price, part, tells, outcome in attempts:
        if not purse.covers(price):
            continue
        purse.began(price)
        used = (int(part * body), int(part * answer))
        if price is not None:
            paid += used[0] * price.input_microdollars + used[1] * price.output_microdollars
        if tells:
            purse.told(price, used)
        purse.ended(outcome)

    assert paid <= limit * (1 + 1e-9)
