"""What an engine has said so far, as far as judging it needs: text, tokens, tool calls and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from modelfleet.route import logprobs
from modelfleet.route.score import Token


@dataclass(slots=True)
class ToolCall:
    """One call of a tool, put together from its pieces."""

    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Part:
    """One choice of an answer (there are several only where the client asked for `n`)."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    calls: dict[int, ToolCall] = field(default_factory=dict)
    finish: str | None = None
    refused: bool = False


class Draft:
    """An answer as it grows.

    `events`: pieces with something of the model in them, about one per token.  `fields`: of the latest text taken.
    """

    __slots__ = ("events", "fields", "parts")

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}
        self.events = 0
        self.fields: dict[str, Any] = {}

    def add_events(self, whole: bytes) -> None:
        """Take whole server-sent events.  One whose data has several lines has one text, as the standard says."""
        data = b""
        for line in whole.splitlines():
            if line.startswith(b"data:"):
                data = data + b"\n" + line[5:] if data else line[5:]
            elif data and not line:
                self._take(data)
                data = b""
        if data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if not data.endswith(b"[DONE]"):
            self.add(data)

    def add(self, data: bytes) -> bool:
        """Take one event's data, or a whole body.  False when it is no JSON object."""
        try:
            fields = orjson.loads(data)
        except orjson.JSONDecodeError:
            return False
        if not isinstance(fields, dict):
            return False
        self.fields = fields
        for choice in _dicts(fields.get("choices")):
            index = choice.get("index")
            self._choice(self.parts.setdefault(index if isinstance(index, int) else 0, Part()), choice)
        return True

    def _choice(self, part: Part, choice: Mapping[str, Any]) -> None:
        said = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
        if not isinstance(said, dict):
            said = {}
        spoke = False
        for name in ("content", "reasoning_content", "reasoning"):
            text = said.get(name)
            if isinstance(text, str) and text:
                spoke = True
                part.text += text if name == "content" else ""
        for place, call in enumerate(_dicts(said.get("tool_calls"))):
            spoke = True
            self._call(part, place, call)
        before = len(part.tokens)
        part.tokens.extend(logprobs.tokens(choice))
        if spoke or len(part.tokens) > before:
            self.events += max(1, len(part.tokens) - before)
        part.refused = part.refused or bool(said.get("refusal"))
        finish = choice.get("finish_reason")
        if isinstance(finish, str):
            part.finish = finish

    @staticmethod
    def _call(part: Part, place: int, call: Mapping[str, Any]) -> None:
        index = call.get("index")
        whole = part.calls.setdefault(index if isinstance(index, int) else place, ToolCall())
        function = call.get("function")
        if isinstance(function, dict):
            whole.name += _text(function.get("name"))
            whole.arguments += _text(function.get("arguments"))


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
