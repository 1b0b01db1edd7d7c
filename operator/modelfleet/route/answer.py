"""What a whole (not streamed) answer of an engine means: pass it on, or try elsewhere."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from modelfleet.route import context
from modelfleet.route.sse import tokens

UNSUPPORTED: Final = "Unsupported"  # the engine is well and does not serve this path
UNSUPPORTED_INPUT: Final = "UnsupportedInput"  # the engine is well, and its model reads text only
UNFIT: Final = frozenset(
    {UNSUPPORTED, UNSUPPORTED_INPUT}
)  # nothing failed: the tier is not for such requests
HTTP_OK_MAX: Final = 299
HTTP_CLIENT_ERROR: Final = 400
HTTP_SERVER_ERROR: Final = 500
_NOT_FOUND: Final = 404
_NOT_IMPLEMENTED: Final = 501

_BUSY: Final = frozenset({429, 503})

# llama.cpp (500, for image, audio and video) and vLLM 0.32 (400), in this order.
_TEXT_ONLY_STATUS: Final = frozenset({400, 500})
_TEXT_ONLY: Final = re.compile(
    rb"(?:image|audio|video) input is not supported|is not a multimodal model|At most 0 \w+\(s\) may be provided"
)

# An error that comes with 200 is the whole body, so its key stands at the start.
_ERROR_WITHIN: Final = 256
# In a JSON text quotes inside strings are escaped: these match keys only.
_PROMPT_TOKENS: Final = re.compile(rb'"prompt_tokens"\s*:\s*(\d{1,12})\b')
_COMPLETION_TOKENS: Final = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,12})\b')

# 4xx that are not of the client's making: our key, our model name or our path is wrong there, or it is too busy.
_NOT_THE_CLIENTS: Final = {
    401: "Unauthorized",
    403: "Unauthorized",
    404: "NotFound",
    405: "NotFound",
    408: "Timeout",
    425: "Status4xx",
    429: "RateLimited",
}


def failure(status: int, fields: Mapping[str, Any] | None = None, *, embeds: bool = False) -> str | None:
    """Why an answer of this HTTP status is worth another attempt elsewhere, in one word; None: its body says more.

    `fields`: the request's, `embeds`: embeddings were asked for.
    """
    if status <= HTTP_OK_MAX:
        return None
    if status < HTTP_CLIENT_ERROR:
        return "Redirect"  # never followed: it would carry prompts and keys to an address nobody configured
    if status == _NOT_IMPLEMENTED or (embeds and status == _NOT_FOUND):
        return UNSUPPORTED  # a llama.cpp without --embeddings, or a vLLM that generates
    if status == HTTP_SERVER_ERROR and fields is not None and context.media(fields):
        return None  # a llama.cpp says so of an image that its model cannot read
    return "Status5xx" if status >= HTTP_SERVER_ERROR else _NOT_THE_CLIENTS.get(status)


def reads_text_only(status: int, body: bytes) -> bool:
    """Whether an engine refuses a request because its model cannot read what is no text in it."""
    return status in _TEXT_ONLY_STATUS and _TEXT_ONLY.search(body) is not None


def pause_s(status: int, headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    """For how long an API asks to be left alone, by its Retry-After; None where it does not ask.

    A date is read by the API's own clock, its Date: ours may differ.
    """
    if status not in _BUSY:
        return None
    fields = dict(headers)
    asked = fields.get(b"retry-after", b"").decode("latin-1").strip()
    if re.fullmatch(r"\d{1,9}([.]\d{1,9})?", asked):
        return float(asked)
    until, now = _date(asked), _date(fields.get(b"date", b"").decode("latin-1"))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def fault(body: bytes, *, length_known: bool) -> str | None:
    """Why a whole 2xx answer is none, in one word.  Looked at closely only when its bytes give cause."""
    suspicious = b'"abort"' in body or b'"error"' in body[:_ERROR_WITHIN] or not length_known or not body
    if not suspicious:
        return None
    fields = _object(body)
    return "Truncated" if fields is None else flaw(fields)


def flaw(fields: Mapping[str, Any]) -> str | None:
    """The same of one that has been read already."""
    if fields.get("error"):
        return "ErrorBody"
    choices = fields.get("choices")
    # Not any(): this runs for every answer that is judged.
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("finish_reason") == "abort":
            return "Aborted"  # a vLLM that is told to stop answers 200 with an empty text
    return None


def told_usage(fields: Mapping[str, Any]) -> tuple[int, int]:
    """Input and output tokens of an answer that has been read already."""
    usage = fields.get("usage")
    return tokens(usage) if isinstance(usage, dict) else (0, 0)


def usage(body: bytes) -> tuple[int, int]:
    """Input and output tokens of a whole answer; zeros where it does not say.

    A scan from the last `usage` key, because parsing the answer would cost more than relaying it.
    """
    at = body.rfind(b'"usage"')
    if at < 0:
        return 0, 0
    told, gave = _PROMPT_TOKENS.search(body, at), _COMPLETION_TOKENS.search(body, at)
    return (int(told[1]) if told else 0), (int(gave[1]) if gave else 0)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None
