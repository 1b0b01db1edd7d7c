"""Whether a request fits into the context of a tier, before it is sent there, and when an engine says that it does not.

Nobody here has the engines' tokenizers.  So the length of a prompt is bounded from below, and a tier is passed over
only when the prompt surely does not fit.  What is too long and was not seen here, its engine refuses by itself, and
the request moves on then.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelfleet.api.route_table import TierRoute

# A token never spans two words, and none is longer than this on average.  Measured with SmolLM2's tokenizer on this
# repository: the bound is 54 % of the tokens of its prose and 27 % of those of its code.
CHARS_PER_TOKEN_MAX = 16
# Words are counted in so much of a prompt, as that takes longer than to parse it; what follows is bounded by its length.
SCANNED_CHARS_MAX = 16_384
# By that bound no body has more tokens than half its bytes: a word takes a letter and a blank, an id a digit and a comma.
BYTES_PER_TOKEN_MIN = 2

_HTTP_BAD_REQUEST = 400
# vLLM, llama.cpp and OpenAI's API, in this order.
_TOO_LONG = re.compile(rb"maximum context length|max_model_len|exceed_context_size|context_length_exceeded")
_LIMIT = re.compile(
    rb'(?:maximum context length is|max_model_len(?: of)?)[ =]{1,3}(\d{1,9})|"n_ctx" ?: ?(\d{1,9})'
)


def fits(tier: TierRoute, *, prompt: int, answer: int) -> bool:
    """Whether a prompt and an answer of so many tokens may fit; an unknown context fits everything."""
    limit = tier.context_tokens
    if limit is None:
        return True
    # llama.cpp takes a request whose answer may grow beyond its context, and cuts only the answer that does.
    return prompt + (answer if tier.engine == "vllm" else 0) <= limit


def longer(tier: TierRoute, limit: int) -> bool:
    """Whether the tier may hold what a context of `limit` tokens does not."""
    return tier.context_tokens is None or tier.context_tokens > limit


def answer_tokens(fields: Mapping[str, Any]) -> int:
    """How long an answer the client asks for, at most; 0 where it does not say."""
    asked = fields.get("max_completion_tokens")
    if asked is None:
        asked = fields.get("max_tokens")
    return asked if isinstance(asked, int) and asked > 0 else 0


def prompt_tokens_min(fields: Mapping[str, Any]) -> int:
    """Tokens that the prompt has at least: of a chat, a prompt, or the longest of several prompts or inputs."""
    messages = fields.get("messages")
    if isinstance(messages, list):
        return _texts([text for message in messages for text in _said(message)])
    return max(map(_prompt, prompts(fields)), default=0)


def prompts(fields: Mapping[str, Any]) -> list[Any]:
    """What is to be gone on with, or embedded: each a text or a list of token ids."""
    given = fields.get("prompt", fields.get("input"))
    several = isinstance(given, list) and not all(isinstance(one, int) for one in given)
    return given if several else [given]


def media(fields: Mapping[str, Any]) -> int:
    """Parts of a chat's messages that are no text: images, sound, files."""
    messages = fields.get("messages")
    return sum(map(_media_of, messages)) if isinstance(messages, list) else 0


def _media_of(message: object) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return 0
    return sum(isinstance(part, dict) and part.get("type") != "text" for part in content)


def refused(status: int, body: bytes) -> int | None:
    """The context, in tokens, that an engine's answer calls too short; 0 where it does not say; None: it is no such answer."""
    if status != _HTTP_BAD_REQUEST or not _TOO_LONG.search(body):
        return None
    found = _LIMIT.search(body)
    return int(found[1] or found[2]) if found else 0


def _said(message: object) -> list[str]:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [content]
    parts = (
        [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    return [text for text in parts if isinstance(text, str)]


def _prompt(prompt: object) -> int:
    if isinstance(prompt, str):
        return _texts([prompt])
    return len(prompt) if isinstance(prompt, list) else 0  # a list of token ids


def _texts(texts: Sequence[str]) -> int:
    left, tokens = SCANNED_CHARS_MAX, 0
    for text in texts:
        head = text[:left]
        left -= len(head)
        tokens += _words(head) + (len(text) - len(head)) // CHARS_PER_TOKEN_MAX
    return tokens


def _words(text: str) -> int:
    blanks = text.count(" ")
    # Every run of blanks of odd length, but the first and the last, stands between two words.
    words = blanks - 2 * text.count("  ") - 1
    return max(words, (len(text) - blanks) // CHARS_PER_TOKEN_MAX)
