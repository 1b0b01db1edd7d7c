"""What the stand-in engine says: the shape and size of vLLM's answers, with log probabilities where they are asked for.

A plain answer is about 1 KB.  An event of a stream carries the time at which it was sent as its text, so that whoever
reads it, on the same machine, knows how long it was under way.
"""

import json

PLAIN_TOKENS = 64
WORD = " word"
CONFIDENT, DOUBTFUL = -0.05, -3.0  # log probability of every token


def _logprob(text: str, value: float) -> dict[str, object]:
    return {"token": text, "logprob": value, "bytes": list(text.encode()), "top_logprobs": []}


def plain(port: int, *, logprob: float | None) -> bytes:
    """A whole HTTP answer.  `logprob`: of every token, None where nobody asked."""
    content = {"content": [_logprob(WORD, logprob)] * PLAIN_TOKENS} if logprob is not None else None
    message: dict[str, object] = {
        "role": "assistant", "content": WORD * PLAIN_TOKENS, "refusal": None, "annotations": None, "audio": None,
        "function_call": None, "tool_calls": [], "reasoning": None,
    }  # fmt: skip
    choice = {
        "index": 0, "message": message, "logprobs": content, "finish_reason": "stop", "stop_reason": None,
        "token_ids": None,
    }  # fmt: skip
    usage = {"prompt_tokens": 250, "total_tokens": 250 + PLAIN_TOKENS, "completion_tokens": PLAIN_TOKENS}
    body = {
        "id": f"chatcmpl-{port:032}", "object": "chat.completion", "created": 1795320000, "model": "bench",
        "choices": [choice], "service_tier": None, "system_fingerprint": "x" * 200,
        "usage": {**usage, "prompt_tokens_details": None}, "prompt_logprobs": None, "prompt_token_ids": None,
        "kv_transfer_params": None,
    }  # fmt: skip
    data = json.dumps(body, separators=(",", ":")).encode()
    head = "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class Events:
    """The events of one stream."""

    def __init__(self, number: int, *, logprob: float | None) -> None:
        choice = '"choices":[{"index":0,"delta":{"content":" '
        self._before = (
            f'data: {{"id":"chatcmpl-{number:032}","object":"chat.completion.chunk","created":1795320000,'
            f'"model":"bench",'
        )
        self._head = self._before + choice
        told = "null"
        if logprob is not None:
            told = json.dumps({"content": [_logprob(WORD, logprob)]}, separators=(",", ":"))
        self._tail = f'"}},"logprobs":{told},"finish_reason":null,"token_ids":null}}]}}\n\n'

    def token(self, now_s: float) -> bytes:
        return _chunk(f"{self._head}{now_s:.6f}{self._tail}".encode())

    def end(self, tokens: int, *, usage: bool) -> bytes:
        """The last events, and the end of the body."""
        stop = '"choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop"}]}\n\n'
        events = [self._before + stop]
        if usage:
            counts = (
                f'"usage":{{"prompt_tokens":250,"total_tokens":{250 + tokens},"completion_tokens":{tokens}}}'
            )
            events.append(f'{self._before}"choices":[],{counts}}}\n\n')
        events.append("data: [DONE]\n\n")
        return b"".join(_chunk(event.encode()) for event in events) + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
