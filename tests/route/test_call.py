"""The body that leaves says what the body that came says, but for the model and the usage."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.call import parse
from modelfleet.route.refusal import Refused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text().filter(lambda key: key not in {"stream", "stream_options"}), JSON, max_size=5),
    st.booleans(),
)
def test_nothing_else_is_changed(fields: dict[str, Any], stream: bool):  # noqa: FBT001 - drawn
    asked = {**fields, "model": "chat", "stream": stream}
    sent = orjson.loads(parse(orjson.dumps(asked)).encoded("served"))

    options = {"stream_options": {"include_usage": True}} if stream else {}
    assert sent == {**asked, "model": "served", **options}


def test_other_stream_options_stay():
    asked = {"model": "chat", "stream": True, "stream_options": {"include_usage": False, "x": 1}}
    call = parse(orjson.dumps(asked))

    assert not call.wants_usage
    assert orjson.loads(call.encoded("m"))["stream_options"] == {"include_usage": True, "x": 1}


def test_fields_of_ours_take_the_place_of_the_clients():
    call = parse(b'{"model":"chat","logprobs":true,"top_logprobs":3,"seed":1}')

    body = orjson.loads(call.encoded("m", {"logprobs": None, "top_logprobs": None, "n_probs": 3}))

    assert body == {"model": "m", "seed": 1, "n_probs": 3}
    assert call.fields["logprobs"] is True, "what the client sent stays as it was"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_or_a_refusal(body: bytes):
    with suppress(Refused):
        parse(body)


def test_refusal_has_the_shape_that_clients_read():
    with pytest.raises(Refused) as caught:
        parse(b"[]")

    assert caught.value.refusal.status == 400
    assert set(orjson.loads(caught.value.refusal.body())["error"]) == {"message", "type", "param", "code"}


def test_refusal_never_quotes_the_prompt():
    with pytest.raises(Refused) as caught:
        parse(b'{"model":"chat","messages":"my secret plan')

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "most"),
    [("n", 128), ("best_of", 128), ("max_tokens", 2**31 - 1), ("max_completion_tokens", 2**31 - 1)],
)
def test_no_engine_is_asked_for_more_than_it_could_give(name: str, most: int):
    assert parse(orjson.dumps({"model": "chat", name: most})).fields[name] == most

    for more in (most + 1, 2**63, 1e300):
        with pytest.raises(Refused, match=f"`{name}` must be at most {most}"):
            parse(orjson.dumps({"model": "chat", name: more}))
