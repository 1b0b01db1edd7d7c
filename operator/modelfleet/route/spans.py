"""What spans say, by OpenTelemetry's conventions for generative AI: numbers and names of ours, nothing that was said.

See https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.api.route_table import CascadeRoute, TierRoute
from modelfleet.route.account import End
from modelfleet.route.call import EMBEDDINGS
from modelfleet.route.journey import Journey

_OPERATIONS = {
    b"/v1/chat/completions": "chat",
    b"/v1/completions": "text_completion",
    EMBEDDINGS: "embeddings",
}
_PROVIDERS = {"vllm": "vllm", "llamaCpp": "llama_cpp", "external": "openai"}  # the last: by what it speaks
_NUMBERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}
# OTLP has no numbers above 63 bits, and its library would log a traceback for each.  Half of them is enough, and far
# from where compiled code, which compares as floats, would round.
_NUMBER_MAX = 1 << 62
# Outcomes of attempts that are nobody's error.
_WELL = frozenset({"Answered", "Escalated", "Cancelled"})

Attributes = dict[str, str | int | float | bool]


def operation(path: bytes) -> str:
    return _OPERATIONS.get(path, "chat")


def request(path: bytes, route: CascadeRoute) -> Attributes:
    """Of a whole request, when it comes."""
    return {
        "http.request.method": "POST",
        "http.route": path.decode("latin-1"),
        "gen_ai.operation.name": operation(path),
        "gen_ai.request.model": route.model_name,
        "modelfleet.cascade": route.cascade,
    }


def answer(end: End, journey: Journey) -> Attributes:
    """Of a whole request, when it is over."""
    prompt, completion = journey.tokens(*journey.used)
    told: Attributes = {
        "http.response.status_code": end.status,
        "gen_ai.usage.input_tokens": prompt,
        "gen_ai.usage.output_tokens": completion,
        "modelfleet.result": end.result,
        "modelfleet.tier": journey.tier,
        "modelfleet.attempts": journey.attempts,
        "modelfleet.escalations": journey.escalations,
    }
    if journey.score is not None:
        told["modelfleet.score"] = journey.score
    if journey.opened_s is not None:
        told["modelfleet.first_token_s"] = round(journey.opened_s - journey.start_s, 6)
    if end.failed:
        told["error.type"] = end.code or end.result
    return told


def attempt(path: bytes, tier: TierRoute, fields: Mapping[str, Any], *, host: str, port: int) -> Attributes:
    """Of one attempt, when it begins.  `fields`: the request's body, of which only numbers are told."""
    told: Attributes = {
        "gen_ai.operation.name": operation(path),
        "gen_ai.provider.name": _PROVIDERS[tier.engine],
        "gen_ai.request.model": tier.served_name,
        "server.address": host,
        "server.port": port,
        "modelfleet.tier": tier.name,
        "modelfleet.model_tier": tier.model_tier,
    }
    for name, attribute in _NUMBERS.items():
        value = fields.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _NUMBER_MAX:
            told[attribute] = value
    return told


def outcome(word: str, used: tuple[int | None, int] | None) -> Attributes:
    """Of one attempt, when it is over.  `used`: tokens, where they are known."""
    told: Attributes = {"modelfleet.outcome": word}
    if word not in _WELL:
        told["error.type"] = word
    if used is not None:
        if used[0] is not None:
            told["gen_ai.usage.input_tokens"] = used[0]
        told["gen_ai.usage.output_tokens"] = used[1]
    return told
