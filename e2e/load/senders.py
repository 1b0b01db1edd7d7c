"""Two ways to send one request: plain HTTP, and the official OpenAI client.  Neither retries."""

import time
from typing import Any, Protocol

import httpx

from e2e.load.outcome import Outcome, judge_plain, judge_stream, tokens_of

REQUEST_LIMIT_S = 120.0
TIER_HEADER = "x-modelfleet-tier"
ATTEMPTS_HEADER = "x-modelfleet-attempts"


class Sender(Protocol):
    """Sends one chat request and fills in its outcome; never raises because of the answer."""

    async def send(self, body: dict[str, Any], outcome: Outcome) -> None: ...

    async def close(self) -> None: ...


class HttpSender:
    """The request as bytes, so that every byte of the answer can be judged."""

    def __init__(self, base_url: str) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=REQUEST_LIMIT_S,
            limits=limits,
            transport=httpx.AsyncHTTPTransport(limits=limits, retries=0),
        )

    async def send(self, body: dict[str, Any], outcome: Outcome) -> None:
        start = time.monotonic()
        received = bytearray()
        try:
            async with self._client.stream("POST", "/chat/completions", json=body) as answer:
                _read_headers(outcome, answer.status_code, answer.headers)
                async for chunk in answer.aiter_raw():
                    if outcome.ttft_s is None:
                        outcome.ttft_s = time.monotonic() - start
                    received += chunk
        except httpx.HTTPError as err:
            outcome.failure = f"{type(err).__name__}: {err}"
            return
        if outcome.status != httpx.codes.OK:
            outcome.failure = f"status {outcome.status}: {bytes(received[:200])!r}"
            return
        judge = judge_stream if outcome.stream else judge_plain
        outcome.failure, outcome.text = judge(bytes(received))
        outcome.tokens = tokens_of(bytes(received))

    async def close(self) -> None:
        await self._client.aclose()


class OpenAISender:
    """What most users have: the official client, told not to retry."""

    def __init__(self, base_url: str) -> None:
        import openai  # noqa: PLC0415  # a second of start-up that the plain sender need not pay

        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key="not-needed", max_retries=0, timeout=REQUEST_LIMIT_S
        )

    async def send(self, body: dict[str, Any], outcome: Outcome) -> None:
        start = time.monotonic()
        try:
            answer = await self._client.chat.completions.with_raw_response.create(**body)
            _read_headers(outcome, answer.status_code, answer.headers)
            parsed = answer.parse()
            finished, text = await self._read(parsed, outcome, start) if outcome.stream else _whole(parsed)
        except Exception as err:  # noqa: BLE001  # its own errors, its HTTP library's, a parser's: all lose the answer
            outcome.failure = f"{type(err).__name__}: {err}"
            outcome.status = outcome.status or getattr(err, "status_code", 0)
            return
        outcome.text = text
        outcome.failure = "" if finished in ("stop", "length") else f"finish_reason {finished!r}"

    async def _read(self, events: Any, outcome: Outcome, start: float) -> tuple[str | None, str]:
        finished: str | None = None
        text: list[str] = []
        async for event in events:
            if outcome.ttft_s is None:
                outcome.ttft_s = time.monotonic() - start
            for choice in event.choices:
                text.append(choice.delta.content or "")
                finished = choice.finish_reason or finished
        return finished, "".join(text)

    async def close(self) -> None:
        await self._client.close()


def _whole(completion: Any) -> tuple[str | None, str]:
    choice = completion.choices[0]
    return choice.finish_reason, choice.message.content or ""


def _read_headers(outcome: Outcome, status: int, headers: httpx.Headers) -> None:
    outcome.status = status
    outcome.tier = headers.get(TIER_HEADER, "")
    outcome.attempts = int(headers.get(ATTEMPTS_HEADER, "0"))
