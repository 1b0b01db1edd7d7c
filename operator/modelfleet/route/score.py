"""How sure a model was of what it said: pure functions of the chosen tokens' log probabilities.

Every signal is a natural log probability: at most 0, higher is surer, unbounded below.  Thresholds are therefore
negative numbers and not percentages.  A signal without a single log probability is None, never 0: "nothing is known"
and "quite sure" must not look alike.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

LOW_QUANTILE: Final = 0.1
# Engines write this or less for what they could not compute; below it nothing is told apart anyway.
LOGPROB_MIN: Final = -9999.0

# What a JSON text is made of, as far as values are to be told from keys and punctuation.
_PIECE: Final = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*+")(?P<key>\s*:)?|(?P<bare>[^\s\[\]{},:"]++)')


class Token:
    """One chosen token: its text, and the natural log of the probability that the model gave it.

    A plain class, because an answer has hundreds: compiled, nothing else is as quickly made.
    """

    __slots__ = ("logprob", "text")

    def __init__(self, text: str, logprob: float) -> None:
        self.text = text
        self.logprob = logprob


Signal = Callable[[Sequence[Token]], float | None]


def mean_logprob(tokens: Sequence[Token]) -> float | None:
    """MeanLogprob: (1/n) sum of log p_i.  Range (-inf, 0].

    The log of the geometric mean of the tokens' probabilities (Chow-Average in Gupta et al. 2024).  Does not fall
    with length, unlike the sum; one very unsure token in a long answer hardly shows.
    """
    known = _known(tokens)
    return sum(known) / len(known) if known else None


def low_quantile_logprob(tokens: Sequence[Token]) -> float | None:
    """LowQuantileLogprob: the 0.1 quantile of log p_i, linear between neighbours.  Range (-inf, 0].

    The least sure tenth of an answer, where errors are made (quantiles in Gupta et al. 2024); not hidden by many
    tokens that could not have been others.
    """
    known = sorted(_known(tokens))
    if not known:
        return None
    at = LOW_QUANTILE * (len(known) - 1)
    low = math.floor(at)
    high = min(low + 1, len(known) - 1)
    return known[low] + (at - low) * (known[high] - known[low])


def answer_logprob(tokens: Sequence[Token]) -> float | None:
    """AnswerLogprob: min over the answer's values of the mean log p_i of the value's tokens.  Range (-inf, 0].

    For closed outputs: the values of a JSON text (tool names and arguments included) without its keys and
    punctuation, which a grammar or habit makes certain; a text that is no JSON is one value, such as a label.  The
    weakest value counts, as one wrong field makes the answer wrong (answer-token probability, see the cascade notes).
    """
    values = [_known(part) for part in _values(tokens)]
    means = [sum(known) / len(known) for known in values if known]
    return min(means) if means else None


SIGNALS: Mapping[str, Signal] = {
    "MeanLogprob": mean_logprob,
    "LowQuantileLogprob": low_quantile_logprob,
    "AnswerLogprob": answer_logprob,
}


def _known(tokens: Sequence[Token]) -> list[float]:
    # Rounding makes a certain token's logarithm a hair above 0 at times.
    return [
        logprob if LOGPROB_MIN <= logprob <= 0.0 else min(0.0, max(LOGPROB_MIN, logprob))
        for token in tokens
        if not math.isnan(logprob := token.logprob)
    ]


def _values(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The tokens of each value; a token that reaches into a value belongs to it."""
    ends = list(accumulate(len(token.text) for token in tokens))
    text = "".join(token.text for token in tokens)
    spans = list(_spans(text)) or [(0, len(text))]
    first = 0
    for start, end in spans:
        while first < len(ends) and ends[first] <= start:
            first += 1
        last = first
        while last < len(ends) and (last == first or ends[last - 1] < end):
            last += 1
        yield tokens[first:last]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of a JSON text lie, quotes excluded.  None for a text that holds no object or array."""
    opening = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if opening < 0:
        return
    for piece in _PIECE.finditer(text, opening):
        if piece["bare"] is not None:
            yield piece.span("bare")
        elif piece["key"] is None:
            start, end = piece.span("text")
            if end - start > 2:  # noqa: PLR2004 - an empty string has no tokens of its own
                yield start + 1, end - 1
