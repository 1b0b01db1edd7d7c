"""Where the clients are pointed at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Bern", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class Target:
    """A router, or anything that speaks OpenAI's API.  `embeds`: the model gives embeddings."""

    base_url: str  # with /v1
    model: str
    api_key: str = "none"
    embeds: bool = False
    timeout_s: float = 120.0


Check = Callable[[Target], None]


def question(text: str = "Name a city in France.") -> list[Any]:
    """The messages of a conversation that begins."""
    return [{"role": "user", "content": text}]
