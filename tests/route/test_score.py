import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.route_table import SIGNALS as NAMED
from modelfleet.route.score import SIGNALS, Signal, Token, answer_logprob, low_quantile_logprob, mean_logprob


def _tokens(*logprobs: float) -> list[Token]:
    return [Token("a", logprob) for logprob in logprobs]


ROWS = {
    "sure of every token: zero": (mean_logprob, _tokens(0.0, 0.0), 0.0),
    "the mean of the logs, not of the probabilities": (mean_logprob, _tokens(-1.0, -3.0), -2.0),
    "a hair above zero is rounding": (mean_logprob, _tokens(1e-7), 0.0),
    "what an engine could not compute counts as very unlikely": (mean_logprob, _tokens(-math.inf), -9999.0),
    "what is not a number is not known": (mean_logprob, _tokens(math.nan, -1.0), -1.0),
    "one token is its own quantile": (low_quantile_logprob, _tokens(-0.7), -0.7),
    "the quantile lies between neighbours": (low_quantile_logprob, _tokens(-2.0, -1.0), -1.9),
    "of eleven tokens the second lowest": (low_quantile_logprob, _tokens(*map(float, range(-10, 1))), -9.0),
    "a label is one value": (answer_logprob, [Token("Ye", -0.2), Token("s", -0.4)], -0.3),
    "keys and punctuation do not count": (
        answer_logprob,
        [
            Token('{"city', -5.0),
            Token('":', -5.0),
            Token(' "', -5.0),
            Token("Paris", -0.3),
            Token('"}', -5.0),
        ],
        -0.3,
    ),
    "the weakest value counts": (
        answer_logprob,
        [Token('{"a":', -5.0), Token("1", -0.1), Token(',"b":', -5.0), Token("true", -0.9), Token("}", -5.0)],
        -0.9,
    ),
    "values in arrays are values": (
        answer_logprob,
        [Token("[", 0.0), Token("7", -0.5), Token(",", 0.0), Token("8", -0.25), Token("]", 0.0)],
        -0.5,
    ),
    "a token that reaches into a value belongs to it": (
        answer_logprob,
        [Token('{"a":"x', -0.5), Token('y"}', -0.7)],
        -0.6,
    ),
    "a quote within a value does not end it": (
        answer_logprob,
        [Token('{"a":"', 0.0), Token('x\\"', -0.2), Token("y", -0.4), Token('"}', 0.0)],
        -0.3,
    ),
    "a tool call within a text": (
        answer_logprob,
        [Token("<tool_call>", 0.0), Token('{"name":"', 0.0), Token("add", -1.5), Token('"}', 0.0)],
        -1.5,
    ),
    "an object without values is one value": (answer_logprob, [*_tokens(-0.1), Token("{}", -0.3)], -0.2),
}


@pytest.mark.parametrize(("signal", "tokens", "want"), ROWS.values(), ids=ROWS)
def test_signal(signal: Signal, tokens: list[Token], want: float):
    assert signal(tokens) == pytest.approx(want)


any_tokens = st.lists(
    st.builds(
        Token,
        st.sampled_from(["a", '"', "{", "}", "[", "]", ":", ",", "\\", " ", "12", '{"k":"', ""]),
        st.floats(max_value=0.0) | st.just(math.nan),
    ),
    max_size=30,
)


@pytest.mark.parametrize("name", NAMED)
@given(tokens=any_tokens)
def test_every_signal_is_a_log_probability_or_nothing(name: str, tokens: list[Token]):
    score = SIGNALS[name](tokens)

    assert score is None or score <= 0.0
    if all(math.isnan(token.logprob) for token in tokens):
        assert score is None


@pytest.mark.parametrize("name", NAMED)
@given(tokens=any_tokens, at=st.integers(0, 29), less=st.floats(0.0, 100.0))
def test_less_sure_of_a_token_never_scores_higher(name: str, tokens: list[Token], at: int, less: float):
    before = SIGNALS[name](tokens)
    if before is None or at >= len(tokens):
        return
    lower = [*tokens[:at], Token(tokens[at].text, tokens[at].logprob - less), *tokens[at + 1 :]]

    after = SIGNALS[name](lower)

    assert after is not None
    assert after <= before + 1e-9
