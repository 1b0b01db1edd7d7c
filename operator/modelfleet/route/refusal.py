"""Answers that the router gives by itself, in the shape of OpenAI's errors.

They never quote what the client sent, except the model name: prompts stay out of answers and logs.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import ceil

import orjson

from modelfleet.errors import FleetError
from modelfleet.route import waiting

_MODELS_NAMED_MAX = 20
_MODEL_CHARS_MAX = 100
_RETRY_S_MAX = 3600


@dataclass(frozen=True, slots=True)
class Refusal:
    """One error answer.  `type` and `code` are the words that OpenAI's clients look at."""

    status: int
    message: str
    type: str
    param: str | None = None
    code: str | None = None
    retry_after_s: int | None = None

    @property
    def reason(self) -> str:
        """One word for counters."""
        return (self.code or self.type).title().replace("_", "")

    def body(self) -> bytes:
        """The JSON that the client gets; in a stream, the data of its last event."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


class Refused(FleetError):
    """The request cannot be served as it is; the refusal says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


UNAVAILABLE = Refusal(
    503, "No tier of this model can answer now.", "server_error", code="unavailable", retry_after_s=1
)
RATE_LIMITED = Refusal(
    429, "Every tier of this model is over its rate limit.", "rate_limit_error", code="rate_limit_exceeded",
    retry_after_s=1,
)  # fmt: skip
BUSY = Refusal(
    429,
    "This model has more to do than it can finish in time.",
    "rate_limit_error",
    code="busy",
    retry_after_s=1,
)
COLD = Refusal(
    503, "This model is starting, and no more requests may wait for it.", "server_error", code="cold",
    retry_after_s=10,
)  # fmt: skip
DEADLINE = Refusal(
    504, "The request's deadline passed before an answer came.", "server_error", code="deadline"
)
TIMEOUT = Refusal(504, "No tier of this model answered in time.", "server_error", code="timeout")
BROKEN = Refusal(502, "The answer broke off in the middle.", "server_error", code="upstream_broken")
MALFORMED = Refusal(400, "The request is not valid HTTP.", "invalid_request_error", code="bad_http")
HEAD_TOO_LARGE = Refusal(
    431, "The request's headers are too large.", "invalid_request_error", code="headers_too_large"
)
CROWDED = Refusal(
    503, "This router has as many connections as it can hold.", "server_error", code="too_many_connections",
    retry_after_s=1,
)  # fmt: skip
FULL = Refusal(
    503, "This router holds as many requests as its memory allows.", "server_error", code="router_full",
    retry_after_s=1,
)  # fmt: skip
NOT_JSON = Refusal(
    415,
    "The content-type of a request must be application/json.",
    "invalid_request_error",
    code="unsupported_media_type",
)
ENCODED = Refusal(
    415,
    "The body of a request must not be compressed: send it without content-encoding.",
    "invalid_request_error",
    code="unsupported_content_encoding",
)
TOO_SLOW = Refusal(
    408, "The request took too long to arrive.", "invalid_request_error", code="request_timeout"
)
KEY_MISSING = Refusal(
    401,
    "This router needs an API key: send it as `Authorization: Bearer KEY`.",
    "invalid_request_error",
    code="missing_api_key",
)
KEY_WRONG = Refusal(401, "This API key is not known here.", "invalid_request_error", code="invalid_api_key")
NO_KEYS = Refusal(
    503,
    "This router has no API keys yet and lets nobody in until it has.",
    "server_error",
    code="api_keys_unavailable",
    retry_after_s=10,
)
MODEL_FORBIDDEN = Refusal(
    403,
    "This API key may not use that model, see GET /v1/models.",
    "invalid_request_error",
    param="model",
    code="model_not_allowed",
)
TIER_FORBIDDEN = Refusal(
    403, "This API key may use none of this model's tiers.", "invalid_request_error", code="tier_not_allowed"
)
DATA_STAYS = Refusal(
    403,
    "The data of this request must stay in the cluster, and none of the tiers inside may be used for it.",
    "invalid_request_error",
    code="data_policy",
)
NO_SUCH_PATH = Refusal(
    404,
    "Unknown path. This router serves POST /v1/chat/completions, /v1/completions and /v1/embeddings, "
    "and GET /v1/models.",
    "invalid_request_error",
    code="not_found",
)
NOT_STREAMED = Refusal(400, "Embeddings are not streamed.", "invalid_request_error", param="stream")
# Not a 501: clients ask again after one.
UNSUPPORTED = Refusal(
    404, "No tier of this model serves this path.", "invalid_request_error", code="unsupported_endpoint"
)

UNSUPPORTED_INPUT = Refusal(
    400,
    "No tier of this model reads anything but text.",
    "invalid_request_error",
    param="messages",
    code="unsupported_input",
)


def verdict(outcomes: AbstractSet[str], *, all_asked: bool = False) -> Refusal:
    """What to tell a client that nobody could serve.

    `outcomes`: of all attempts and waits.  `all_asked`: there is no tier that might have said something else.
    """
    if outcomes and outcomes <= {waiting.RATE_LIMIT, "RateLimited"}:
        return RATE_LIMITED
    if outcomes & waiting.BUSY:
        return BUSY
    if outcomes & waiting.TOLD:
        return COLD
    if all_asked and outcomes and outcomes <= {"Unsupported", "UnsupportedInput"}:
        return UNSUPPORTED_INPUT if "UnsupportedInput" in outcomes else UNSUPPORTED
    if outcomes and outcomes <= {"Timeout", "ConnectTimeout"}:
        return TIMEOUT
    return UNAVAILABLE


def choice_not_allowed(header: str, allowed: list[str]) -> Refusal:
    """400 for a client that steers where it may not."""
    may = f"Requests for this model may carry {' and '.join(allowed)}." if allowed else "Leave it out."
    return Refusal(
        400,
        f"This model's Cascade does not allow the header {header} (spec.clientChoice). {may}",
        "invalid_request_error",
        param=header,
        code="tier_choice_not_allowed",
    )


def unknown_tier(header: str, known: list[str]) -> Refusal:
    """400 that lists the tiers, cheapest first."""
    return Refusal(
        400,
        f"The header {header} must name one tier of this model: {', '.join(known)}.",
        "invalid_request_error",
        param=header,
        code="unknown_tier",
    )


def tier_below_floor(tier: str, floor: str) -> Refusal:
    """400 for two choices that exclude each other."""
    return Refusal(
        400,
        f"x-modelfleet-tier names {tier}, which is below {floor}, the floor that x-modelfleet-min-tier names.",
        "invalid_request_error",
        param="x-modelfleet-tier",
        code="tier_below_floor",
    )


def unknown_data_class(header: str, known: list[str]) -> Refusal:
    """400 that lists the classes.  It does not quote the one that was sent."""
    return Refusal(
        400,
        f"The header {header} must name the class of this request's data: {', '.join(known) or 'none is known'}.",
        "invalid_request_error",
        param=header,
        code="unknown_data_class",
    )


def context_too_short(longest: int, *, prompt: int, answer: int) -> Refusal:
    """400 in the words of OpenAI's API, which clients look for.  All in tokens; `prompt` and `longest` are bounds."""
    asked = f" and ask for {answer} more" if answer else ""
    return Refusal(
        400,
        f"This model's maximum context length is {longest} tokens. However, your messages resulted in at least "
        f"{prompt} tokens{asked}. Please reduce the length of the messages.",
        "invalid_request_error",
        param="messages",
        code="context_length_exceeded",
    )


def too_expensive(least: float, *, limit: float) -> Refusal:
    """400: asking again does not help, asking for less does.  Both in micro-dollars."""
    return Refusal(
        400,
        f"This request could cost up to ${least / 1e6:.6f}, and this model's limit is ${limit / 1e6:.6f} for one "
        "request. Shorten the prompt, or lower max_tokens.",
        "invalid_request_error",
        code="cost_limit_exceeded",
    )


def budget_spent(until: str, left_s: float) -> Refusal:
    """429 until the budget's window begins again.  `until`: RFC 3339; nobody has to wait so long to ask again."""
    return Refusal(
        429,
        f"The budget of this model is spent. It begins again at {until}.",
        "insufficient_quota",
        code="budget_spent",
        retry_after_s=min(_RETRY_S_MAX, max(1, ceil(left_s))),
    )


def wrong_method(allowed: str) -> Refusal:
    return Refusal(
        405, f"This path takes {allowed} only.", "invalid_request_error", code="method_not_allowed"
    )


def over_rate(retry_after_s: int) -> Refusal:
    """429 for a key that is used too often."""
    return Refusal(
        429,
        "This API key is over its rate of requests.",
        "rate_limit_error",
        code="rate_limit_exceeded",
        retry_after_s=retry_after_s,
    )


def body_too_large(bytes_max: int) -> Refusal:
    return Refusal(
        413,
        f"The request body is larger than {bytes_max} bytes.",
        "invalid_request_error",
        code="request_too_large",
    )


def unknown_model(model: str, known: list[str]) -> Refusal:
    """404 that lists what there is, so that a typing error explains itself."""
    names = ", ".join(sorted(known)[:_MODELS_NAMED_MAX]) or "none"
    return Refusal(
        404,
        f"The model `{model[:_MODEL_CHARS_MAX]}` does not exist. Models here: {names}.",
        "invalid_request_error",
        param="model",
        code="model_not_found",
    )
