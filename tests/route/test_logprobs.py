from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import logprobs
from modelfleet.route.draft import Draft
from modelfleet.route.score import mean_logprob

FIXTURES = Path(__file__).parent.parent / "fixtures"
STREAMS = {name: (FIXTURES / name / "chat-stream.sse").read_bytes() for name in ("llama.cpp", "vllm-0.32.0")}
CHAT: dict[str, Any] = {"messages": []}

ASKS = {
    "vLLM: the chosen token alone": (CHAT, "vllm", {"logprobs": True, "top_logprobs": 0}),
    "llama.cpp: one alternative, or it gives nothing": (
        CHAT,
        "llamaCpp",
        {"logprobs": True, "top_logprobs": 1},
    ),
    "an API outside: plain OpenAI": (CHAT, "external", {"logprobs": True}),
    "never less than the client asked for": (
        {"top_logprobs": 5},
        "vllm",
        {"logprobs": True, "top_logprobs": 5},
    ),
    "llama.cpp, never less either": (
        {"top_logprobs": 5, "logprobs": True},
        "llamaCpp",
        {"logprobs": True, "top_logprobs": 5},
    ),
    "llama.cpp refuses logprobs where tools and stream meet": (
        {"tools": [{}], "stream": True, "logprobs": True},
        "llamaCpp",
        {"logprobs": None, "top_logprobs": None, "n_probs": 1},
    ),
    "but not in a whole answer with tools": (
        {"tools": [{}]},
        "llamaCpp",
        {"logprobs": True, "top_logprobs": 1},
    ),
}


@pytest.mark.parametrize(("fields", "engine", "want"), ASKS.values(), ids=ASKS)
def test_the_least_is_asked_for(fields: dict[str, Any], engine: str, want: dict[str, Any]):
    assert logprobs.request(fields, engine=engine, chat=True) == want


def test_completions_have_a_number():
    assert logprobs.request({}, engine="vllm", chat=False) == {"logprobs": 0}
    assert logprobs.request({}, engine="llamaCpp", chat=False) == {"logprobs": 1}
    assert logprobs.request({"logprobs": 3}, engine="vllm", chat=False) == {"logprobs": 3}


WISHES = {
    "says nothing": ({}, False),
    "says no": ({"logprobs": False}, False),
    "says null": ({"logprobs": None}, False),
    "a chat says yes": ({"logprobs": True}, True),
    "a completion wants the chosen tokens alone": ({"logprobs": 0}, True),
}


@pytest.mark.parametrize(("fields", "want"), WISHES.values(), ids=WISHES)
def test_what_the_client_asked_for_stays(fields: dict[str, Any], *, want: bool):
    assert logprobs.asked_by(fields) is want


@pytest.mark.parametrize("engine", STREAMS)
def test_nothing_else_leaves_a_recorded_stream(engine: str):
    events = STREAMS[engine].split(b"\n\n")

    for event in events:
        left = logprobs.without(event)
        if not event.startswith(b"data: {"):
            assert left == event
            continue
        want = orjson.loads(event[6:])
        for choice in want["choices"]:
            if choice.get("logprobs"):
                choice["logprobs"] = None
        assert orjson.loads(left[6:]) == want
        assert b"top_logprobs" not in left


@pytest.mark.parametrize("engine", STREAMS)
def test_recorded_tokens_are_found(engine: str):
    draft = Draft()
    draft.add_events(STREAMS[engine])

    part = draft.parts[0]
    assert "".join(token.text for token in part.tokens) == part.text == "I'm glad " + part.text[9:]
    assert draft.events == len(part.tokens) == 12
    assert -2.0 < (mean_logprob(part.tokens) or 0.0) < -0.5


def test_completions_tell_tokens_in_their_own_way():
    told = {"tokens": ["a", "b"], "token_logprobs": [-0.5, None], "top_logprobs": None}

    assert [token.text for token in logprobs.tokens({"logprobs": told})] == ["a"]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=8)
    | st.sampled_from(['"', "\\", '"logprobs":{']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def _deep(value: Any, depth: int) -> bool:
    if not isinstance(value, list | dict):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deep(one, depth - 1) for one in inner)


@given(text=st.text(max_size=20), told=st.dictionaries(st.text(max_size=4), values, max_size=3), rest=values)
def test_only_the_member_goes_whatever_stands_around_it(text: str, told: dict[str, Any], rest: Any):
    if _deep(told, 6):
        return
    fields = {"t": text, "x": 'say "logprobs":{"a":1}', "logprobs": told, "rest": [rest, "\\"]}
    if b'"logprobs"' in orjson.dumps(rest):
        fields["rest"] = None

    left = logprobs.without(orjson.dumps(fields))

    assert orjson.loads(left) == {**fields, "logprobs": None}


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=3))
def test_rubbish_stays_rubbish(data: bytes, cuts: list[int]):
    at = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(at):
        piece = data[start:end]
        if b'"logprobs"' not in piece:
            assert logprobs.without(piece) == piece
