"""Single requests from the clients' pod, with all that came back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from e2e.demo.kube import Kube


@dataclass(frozen=True)
class Answer:
    """What a client got.  Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def tier(self) -> str | None:
        return self.headers.get("x-modelfleet-tier")

    @property
    def escalations(self) -> int:
        return int(self.headers["x-modelfleet-escalations"])

    @property
    def score(self) -> float:
        """The signal of the answer, a log probability."""
        return float(self.headers["x-modelfleet-score"])

    @property
    def fields(self) -> dict[str, Any]:
        """A whole answer, read."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def text(self) -> str:
        return str(self.fields["choices"][0]["message"]["content"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """What a stream said, without [DONE]."""
        lines = [line.removeprefix("data: ") for line in self.body.splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def comments(self) -> list[str]:
        return [line for line in self.body.splitlines() if line.startswith(":")]

    @property
    def streamed_text(self) -> str:
        choices = [choice for event in self.events for choice in event["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


def ask_all(
    kube: Kube, namespace: str, requests: Sequence[dict[str, Any]], *, at_once: int = 1
) -> list[Answer]:
    """Send chat requests to the namespace's router, `at_once` at the same time; answers in their order.

    Each has `model`, `question` and, as it likes, `headers` of the request and fields of its body.
    """
    lines = "\n".join(json.dumps(_request(**fields)) for fields in requests)
    url = f"http://modelfleet-router.{namespace}.svc/v1/chat/completions"
    command = ["python3", "-m", "e2e.load.ask", url, str(at_once)]
    told = kube.kubectl("exec", "-i", "-n", "clients", "load", "--", *command, stdin=lines)
    return [Answer(**json.loads(line)) for line in told.splitlines()]


def _request(
    *,
    model: str,
    question: str,
    headers: dict[str, str] | None = None,
    temperature: float = 0.0,
    max_tokens: int = 4,
    **fields: Any,
) -> dict[str, Any]:
    """A line for e2e/load/ask.py.  Without chance, and short, unless `fields` say otherwise."""
    messages = [{"role": "user", "content": question}]
    sampling = {"temperature": temperature, "max_tokens": max_tokens}
    return {"headers": headers or {}, "body": {"model": model, "messages": messages, **sampling, **fields}}
