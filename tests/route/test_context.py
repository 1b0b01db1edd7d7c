"""How long a prompt is at least, and what engines say to one that is too long."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.route_table import TierRoute
from modelfleet.route import context
from tests.router.rig import tier

FIXTURES = Path(__file__).parent.parent / "fixtures"
TEN = "one two three four five six seven eight nine ten eleven"  # ten blanks


def chat(*contents: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


LENGTHS: dict[str, tuple[dict[str, Any], int]] = {
    "words": (chat(TEN), 9),
    "all messages together": (chat(TEN, TEN), 18),
    "parts of a message": (chat([{"type": "text", "text": TEN}, {"type": "text", "text": TEN}]), 18),
    "an image is no text": (chat([{"type": "image_url", "image_url": {"url": "data:" + "A" * 999}}]), 0),
    "a long text: words at first, then its length": (
        chat("ab " * 10_000),
        context.SCANNED_CHARS_MAX // 3 - 1 + (30_000 - context.SCANNED_CHARS_MAX) // 16,
    ),
    "blanks are no words": (chat(" " * 1000), 0),
    "indented text": (chat("    a    b    c" * 10), 1),
    "no blanks at all": (chat("字" * 160), 10),
    "a prompt": ({"prompt": TEN}, 9),
    "token ids": ({"prompt": [7] * 50}, 50),
    "several prompts: the longest": ({"prompt": ["a", TEN]}, 9),
    "several prompts of token ids: the longest": ({"prompt": [[1], [1, 2, 3]]}, 3),
    "the input of an embedding": ({"input": ["a", TEN]}, 9),
    "nothing that an engine would take": ({"messages": [1, {"content": 2}, {"content": [3]}]}, 0),
    "no prompt at all": ({"prompt": []}, 0),
}


@pytest.mark.parametrize(("fields", "want"), LENGTHS.values(), ids=LENGTHS)
def test_length_of_a_prompt(fields: dict[str, Any], want: int):
    assert context.prompt_tokens_min(fields) == want


TEXT = st.text(alphabet="ab \n字", max_size=80)


@given(TEXT)
def test_no_more_tokens_than_words_or_the_longest_tokens(text: str):
    words = len(text.split(" ")) - text.split(" ").count("")

    assert context.prompt_tokens_min(chat(text)) <= max(words, len(text) // context.CHARS_PER_TOKEN_MAX)


@given(st.lists(TEXT | st.lists(st.fixed_dictionaries({"text": TEXT}))), st.lists(st.integers(0, 1 << 32)))
def test_what_a_body_holds_at_most_is_known_from_its_bytes(contents: list[Any], ids: list[int]):
    for fields in (chat(*contents), {"prompt": ids}):
        most = len(orjson.dumps(fields)) // context.BYTES_PER_TOKEN_MIN

        assert context.prompt_tokens_min(fields) <= most


VLLM = tier("t", engine="vllm", context_tokens=100)
LLAMA = tier("t", engine="llamaCpp", context_tokens=100)
FITS: dict[str, tuple[TierRoute, int, int, bool]] = {
    "just": (VLLM, 60, 40, True),
    "vLLM refuses an answer that could grow too long": (VLLM, 60, 41, False),
    "llama.cpp does not": (LLAMA, 60, 4000, True),
    "a prompt that is too long": (LLAMA, 101, 0, False),
    "a context that nobody knows": (tier("t", engine="vllm"), 10**9, 10**9, True),
}


@pytest.mark.parametrize(("route", "prompt", "answer", "want"), FITS.values(), ids=FITS)
def test_fits(route: TierRoute, prompt: int, answer: int, want: bool):  # noqa: FBT001 - a row
    assert context.fits(route, prompt=prompt, answer=answer) is want


ANSWERS = {
    "not said": ({}, 0),
    "said": ({"max_tokens": 16}, 16),
    "said in the newer way": ({"max_tokens": 16, "max_completion_tokens": 32}, 32),
    "nonsense": ({"max_tokens": "many"}, 0),
    "less than nothing": ({"max_tokens": -1}, 0),
}


@pytest.mark.parametrize(("fields", "want"), ANSWERS.values(), ids=ANSWERS)
def test_length_of_an_answer(fields: dict[str, Any], want: int):
    assert context.answer_tokens(fields) == want


OPENAI = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 "
        "tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}
REFUSALS: dict[str, tuple[int, bytes, int | None]] = {
    "vLLM": (400, (FIXTURES / "vllm-0.32.0" / "error-too-long.http").read_bytes(), 2048),
    "llama.cpp": (400, (FIXTURES / "llama.cpp" / "error-too-long.json").read_bytes(), 512),
    "OpenAI": (400, orjson.dumps(OPENAI), 8192),
    "an API that tells no number": (400, b'{"error":{"code":"context_length_exceeded"}}', 0),
    "another fault of the client": (400, b'{"error":{"message":"temperature must be positive"}}', None),
    "the words in an answer": (200, orjson.dumps(OPENAI), None),
}


@pytest.mark.parametrize(("status", "body", "want"), REFUSALS.values(), ids=REFUSALS)
def test_what_engines_say(status: int, body: bytes, want: int | None):
    assert context.refused(status, body) == want
