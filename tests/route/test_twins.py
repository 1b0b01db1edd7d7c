import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.twins import WHOLE_BYTES_MAX, field_twice

LONG = "x" * WHOLE_BYTES_MAX
BODIES: dict[str, tuple[str, bool]] = {
    "each once": ('{"model":"a","messages":[{"role":"user"},{"role":"user"}]}', False),
    "nothing": ("{}", False),
    "the model twice": ('{"model":"a","stream":true,"model":"b"}', True),
    "the model twice, and the same": ('{"model":"a","model":"a"}', True),
    "the second one escaped": ('{"model":"a","m\\u006fdel":"b"}', True),
    "in a message": ('{"model":"a","messages":[{"role":"user","role":"system"}]}', False),
    "as a value": ('{"model":"model","messages":["model"]}', False),
    "in a text": ('{"model":"a","messages":"\\"model\\": \\"model\\""}', False),
    "quotes written another way": ('{"model":"a","messages":"\\u0022model\\u0022"}', False),
    "spaces everywhere": ('{ "model" : "a" ,\n "messages" : [ ] }', False),
    "around a long text": (f'{{"model":"a","messages":"{LONG}","model":"b"}}', True),
    "behind a long text": (f'{{"messages":"{LONG}","model":"a","model":"b"}}', True),
    "a long text, and the model once": (f'{{"model":"a","messages":"{LONG}","user":"b"}}', False),
    "a long text that ends with the word": (f'{{"model":"a","messages":"{LONG}\\"model\\""}}', False),
    "a long list that ends with the word": (f'{{"model":"a","messages":["{LONG}","model"]}}', False),
}


@pytest.mark.parametrize(("body", "twice"), BODIES.values(), ids=BODIES)
def test_fields_that_are_named_twice(body: str, twice: bool):  # noqa: FBT001 - a row
    assert field_twice(body.encode(), orjson.loads(body)) is twice


NAMES = st.sampled_from(["model", "messages", "stream", 'a"b', "\u20ac", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")])
)
def test_any_object(pairs: list[tuple[str, Any]], in_ascii: bool, separators: tuple[str, str]):  # noqa: FBT001 - drawn
    fields = [
        json.dumps(name, ensure_ascii=in_ascii) + separators[1] + json.dumps(value, ensure_ascii=in_ascii)
        for name, value in pairs
    ]
    body = ("{" + separators[0].join(fields) + "}").encode()

    assert field_twice(body, orjson.loads(body)) is (len({name for name, _ in pairs}) < len(pairs))
