"""Log probabilities in answers: asked of an engine, read out of what it says, and taken out again.

The least is asked for, because alternatives cost an engine throughput and bytes: the chosen token's alone.  They are
taken out by a byte scan: what a client gets is otherwise byte for byte what the engine said.
"""

import re
from collections.abc import Mapping
from typing import Any

from modelfleet.route.score import Token

_NESTED_MAX = 6  # brackets within brackets; engines need 4


def _balanced(depth: int) -> bytes:
    """A pattern for what may stand between two brackets.  Possessive: it never looks at a byte twice."""
    inside = rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"'
    if depth:
        inside += rb"|[\[{]" + _balanced(depth - 1) + rb"[\]}]"
    return inside + rb")*+"


# Inside a JSON string the quotes would be escaped, so this is a key wherever it is found.  An event may have its data on
# several lines, each of which begins with its name.
_GAP = rb"(?:\s|data:)*+"
_MEMBER = re.compile(
    rb'"logprobs"' + _GAP + rb":" + _GAP + rb"[\[{]" + _balanced(_NESTED_MAX) + rb"[\]}]", re.DOTALL
)


def asked_by(fields: Mapping[str, Any]) -> bool:
    """Whether the client wants log probabilities itself: `true` in chats, a number (0 too) in completions."""
    told = fields.get("logprobs")
    return not (told is None or told is False) or bool(fields.get("n_probs"))


def request(fields: Mapping[str, Any], *, engine: str, chat: bool) -> dict[str, Any]:
    """What to put into a request so that the answer tells the chosen tokens' log probabilities.

    Never less than the client asked for.  llama.cpp gives none unless one alternative is asked for too, and with
    tools in a stream it refuses `logprobs` but takes its own `n_probs`.  None as a value: leave the field out.
    """
    if not chat:
        least = 1 if engine == "llamaCpp" else 0
        return {"logprobs": max(least, _count(fields.get("logprobs")))}
    alternatives = _count(fields.get("top_logprobs"))
    if engine != "llamaCpp":
        # vLLM gives the chosen token's with 0; an API outside the fleet need not know the other field.
        return {"logprobs": True, "top_logprobs": alternatives} if engine == "vllm" else {"logprobs": True}
    alternatives = max(1, alternatives)
    if fields.get("tools") and fields.get("stream"):
        return {"logprobs": None, "top_logprobs": None, "n_probs": alternatives}
    return {"logprobs": True, "top_logprobs": alternatives}


def without(data: bytes) -> bytes:
    """`data` with every `logprobs` set to null, which is what engines say when nobody asked.

    `data` must hold whole JSON texts: whole events, or a whole body.
    """
    return _MEMBER.sub(b'"logprobs":null', data) if b'"logprobs"' in data else data


def tokens(choice: Mapping[str, Any]) -> list[Token]:
    """The chosen tokens in one choice, in the form of chats or of plain completions; none where it has none."""
    told = choice.get("logprobs")
    if not isinstance(told, dict):
        return []
    # By type and not isinstance: a bool is no number here, and this runs for every token of an answer.
    if isinstance(content := told.get("content"), list):
        return [
            Token(text, logprob)
            for one in content
            if type(one) is dict
            and type(text := one.get("token")) is str
            and (type(logprob := one.get("logprob")) is float or type(logprob) is int)
        ]
    return [
        Token(text, logprob)
        for text, logprob in zip(_list(told.get("tokens")), _list(told.get("token_logprobs")), strict=False)
        if type(text) is str and (type(logprob) is float or type(logprob) is int)
    ]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
