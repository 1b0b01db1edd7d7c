import orjson
import pytest

from modelfleet.route.draft import Draft


def _event(delta: dict[str, object], finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"


def test_a_tool_call_is_put_together():
    draft = Draft()
    draft.add_events(
        _event({"role": "assistant", "content": None})
        + _event({"tool_calls": [{"index": 0, "function": {"name": "add", "arguments": ""}}]})
        + _event({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]})
        + _event({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})
        + _event({}, "tool_calls")
    )

    call = draft.parts[0].calls[0]
    assert (call.name, call.arguments, draft.parts[0].finish) == ("add", '{"a":1}', "tool_calls")
    assert draft.events == 3  # neither the role nor the end is a token


def test_choices_are_kept_apart():
    draft = Draft()
    draft.add_events(_event({"content": "a"}) + _event({"content": "b"}, index=1) + _event({"content": "c"}))

    assert [part.text for part in draft.parts.values()] == ["ac", "b"]


def test_a_whole_body_is_one_piece():
    draft = Draft()
    body = {"choices": [{"message": {"content": "hi", "refusal": "no"}, "finish_reason": "stop"}]}

    assert draft.add(orjson.dumps(body))
    assert (draft.parts[0].text, draft.parts[0].refused, draft.parts[0].finish) == ("hi", True, "stop")


def test_what_is_no_answer_is_nothing():
    draft = Draft()

    assert not draft.add(b"{")
    assert not draft.add(b"[]")
    assert draft.add(b'{"choices":[1,{"delta":7,"logprobs":[]},{"message":{"tool_calls":[{"function":1}]}}]}')
    draft.add_events(b"data: rubbish\n\n: comment\n\ndata: [DONE]\n\n")
    assert draft.parts[0].text == ""


LINES = {
    "one line": b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    "two lines": b'data: {"choices":\ndata: [{"delta":{"content":"a"}}]}\n\n',
    "with carriage returns and fields between": (
        b'event: x\r\ndata: {"choices":\r\nid: 7\r\ndata:[{"delta":{"content":"a"}}]}\r\n\r\n'
    ),
    "an empty line first": b'data:\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\n',
}


@pytest.mark.parametrize("event", LINES.values(), ids=LINES)
def test_data_on_several_lines_is_one_text(event: bytes):
    draft = Draft()
    draft.add_events(event + b": a comment\n\n" + event + b"data: [DONE]\n\n")

    assert (draft.parts[0].text, draft.events) == ("aa", 2)
