"""What it answers, in the shape that vLLM 0.32.0 was recorded with (tests/fixtures/vllm-0.32.0/recorded).

A word is a token, of the prompt and of the answer.  Every token of an answer has the same log probability, and which
one depends on the question alone: over many questions it is evenly spread between -2 and 0, over those that have the
word `hard` between -2 and -1.
"""

import json
import time
import zlib
from dataclasses import dataclass
from typing import Any

WORD = " word"
LOGPROB_MIN = -2.0
HARD, HARD_LOGPROB_MAX = "hard", -1.0
FINGERPRINT = "vllm-0.32.0-standin"
TOKENS = 128  # of an answer that may have any length
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class Refused(Exception):
    """The request cannot be served; `answer` says so as vLLM does."""

    def __init__(self, status: int, message: str, kind: str, param: str) -> None:
        super().__init__(message)
        error = {"message": message, "type": kind, "param": param, "code": status}
        self.answer = whole({"error": error}, status=status)


@dataclass(frozen=True, slots=True)
class Question:
    """A chat request as far as it matters here."""

    number: int
    model: str
    prompt: int  # tokens
    output: int  # tokens
    stream: bool
    usage: bool  # of a stream
    logprob: float | None  # of every token; None where nobody asked

    @property
    def id(self) -> str:
        return f"chatcmpl-{self.number:016x}"


def question(body: bytes, number: int, *, model: str, length_max: int) -> Question:
    """Read a request body.  Raises Refused."""
    try:
        fields: dict[str, Any] = json.loads(body)
        text = " ".join(_text(message.get("content")) for message in fields["messages"])
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        message = f"1 validation error:\n  {{'type': 'json_invalid', 'msg': {str(err)!r}}}"
        raise Refused(400, message, "Bad Request", "body") from None
    if fields.get("model") != model:
        message = f"The model `{fields.get('model')}` does not exist. Valid aliases: {model}."
        raise Refused(404, message, "NotFoundError", "model")
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    prompt = max(1, len(text.split()))
    if (limit or 0) > length_max or prompt + (limit or 1) > length_max:
        message = f"max_tokens={limit} cannot be greater than max_model_len={length_max}. Please request fewer output tokens."
        raise Refused(
            400, f"{message} (parameter=max_tokens, value={limit})", "BadRequestError", "max_tokens"
        )
    return Question(
        number=number,
        model=model,
        prompt=prompt,
        output=limit or min(TOKENS, length_max - prompt),
        stream=bool(fields.get("stream")),
        usage=bool((fields.get("stream_options") or {}).get("include_usage")),
        logprob=logprob(text) if fields.get("logprobs") else None,
    )


def logprob(text: str) -> float:
    """Of every token of the answer to this."""
    most = HARD_LOGPROB_MAX if HARD in text.split() else 0.0
    return most + (LOGPROB_MIN - most) * zlib.crc32(text.encode()) / 2**32


def plain(asked: Question) -> bytes:
    """A whole answer."""
    message = {
        "role": "assistant", "content": WORD * asked.output, "refusal": None, "annotations": None, "audio": None,
        "function_call": None, "reasoning": None,
    }  # fmt: skip
    choice = {
        "index": 0, "message": message, "logprobs": _logprobs(asked, asked.output), "finish_reason": "length",
        "stop_reason": None, "token_ids": None, "routed_experts": None,
    }  # fmt: skip
    usage = {**_usage(asked), "prompt_tokens_details": None, "completion_tokens_details": None}
    return whole({
        "id": asked.id, "object": "chat.completion", "created": int(time.time()), "model": asked.model,
        "choices": [choice], "service_tier": None, "system_fingerprint": FINGERPRINT, "usage": usage,
        "prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None, "kv_transfer_params": None,
        "ec_transfer_params": None, "metrics": None,
    })  # fmt: skip


class Events:
    """The pieces of one stream."""

    def __init__(self, asked: Question) -> None:
        self._asked = asked
        self._head = {
            "id": asked.id, "object": "chat.completion.chunk", "created": int(time.time()), "model": asked.model,
        }  # fmt: skip

    def begin(self) -> bytes:
        """The first event, which has no token."""
        choice = {
            "index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None,
        }  # fmt: skip
        return self._event(choices=[choice], prompt_token_ids=None, prompt_text=None)

    def tokens(self, number: int, *, last: bool) -> bytes:
        """So many more; with the last ones all that comes after."""
        choice: dict[str, object] = {
            "index": 0, "delta": {"content": WORD * number}, "logprobs": _logprobs(self._asked, number),
            "finish_reason": "length" if last else None, **({"stop_reason": None} if last else {}), "token_ids": None,
        }  # fmt: skip
        event = self._event(choices=[choice])
        if not last:
            return event
        usage = b""
        if self._asked.usage:
            usage = self._event(choices=[], usage=_usage(self._asked), system_fingerprint=FINGERPRINT)
        return event + usage + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def _event(self, **fields: object) -> bytes:
        return _chunk(b"data: " + _json({**self._head, **fields}) + b"\n\n")


def whole(value: object, *, status: int = 200) -> bytes:
    """An HTTP answer."""
    data = _json(value)
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}.get(status, "Internal Server Error")
    head = f"HTTP/1.1 {status} {reason}\r\nserver: uvicorn\r\ncontent-length: {len(data)}\r\n"
    return f"{head}content-type: application/json\r\nvary: Origin\r\n\r\n".encode() + data


def _text(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def _usage(asked: Question) -> dict[str, object]:
    total = asked.prompt + asked.output
    return {"prompt_tokens": asked.prompt, "total_tokens": total, "completion_tokens": asked.output}


def _logprobs(asked: Question, number: int) -> dict[str, object] | None:
    if asked.logprob is None:
        return None
    token = {"token": WORD, "logprob": asked.logprob, "bytes": list(WORD.encode()), "top_logprobs": []}
    return {"content": [token] * number}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
