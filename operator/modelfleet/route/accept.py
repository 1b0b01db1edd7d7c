"""Whether an answer is good enough: hard validators first, then the tier's signal against its threshold.

A validator looks for what no threshold may forgive: an answer that is none, or that a program cannot use.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from modelfleet.api.route_table import AcceptRule
from modelfleet.route import schema
from modelfleet.route.draft import Draft, Part
from modelfleet.route.score import SIGNALS

ACCEPTED = "Accepted"
# A stream this short is judged whole: holding its first tokens back would hold back most of it anyway.
SHORT_TOKENS_MAX = 64

REASONS = (
    "LowScore", "Unscored", "Empty", "Refused", "Length", "Abort", "InvalidJson", "SchemaMismatch", "UnknownTool",
    "ToolArguments",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request demands of its answer.  `schema`: of the JSON text; `tools`: schema of the arguments by name."""

    json: bool
    schema: Any
    tools: Mapping[str, Any]
    tokens_max: int | None  # the client's own limit

    @property
    def whole(self) -> bool:
        """A part of the answer says too little: it must be judged whole."""
        short = self.tokens_max is not None and self.tokens_max <= SHORT_TOKENS_MAX
        return self.json or bool(self.tools) or short


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason`: one word, ACCEPTED or why not.  `score`: the tier's signal, None where there was nothing to score."""

    reason: str
    score: float | None

    @property
    def accepted(self) -> bool:
        return self.reason == ACCEPTED

    @property
    def rank(self) -> tuple[bool, float]:
        """Higher is better, among answers none of which was accepted: what can be used before what can not."""
        usable = self.reason in {ACCEPTED, "LowScore", "Unscored"}
        return usable, float("-inf") if self.score is None else self.score


def asked(fields: Mapping[str, Any]) -> Asked:
    """What the request with these fields demands."""
    form = fields.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    wanted = form.get("json_schema") if isinstance(form, dict) else None
    limits = (fields.get("max_completion_tokens"), fields.get("max_tokens"))
    return Asked(
        json=kind in {"json_object", "json_schema"},
        schema=wanted.get("schema") if kind == "json_schema" and isinstance(wanted, dict) else None,
        tools=dict(_tools(fields.get("tools"))),
        tokens_max=next((int(limit) for limit in limits if isinstance(limit, int | float)), None),
    )


def judge(rule: AcceptRule, draft: Draft, wants: Asked, *, ended: bool) -> Verdict:
    """The verdict on what has been said so far.  `ended`: it is all there is, so what is missing will not come.

    Of several choices the worst one counts.
    """
    parts = list(draft.parts.values()) or [Part()]
    return min((_verdict(rule, part, wants, ended=ended) for part in parts), key=lambda verdict: verdict.rank)


def _verdict(rule: AcceptRule, part: Part, wants: Asked, *, ended: bool) -> Verdict:
    score = SIGNALS[rule.signal](part.tokens)
    for validator in _VALIDATORS if ended else _EARLY:
        reason = validator(part, wants)
        if reason is not None:
            return Verdict(reason, score)
    if score is None:
        return Verdict("Unscored", None)  # what was not judged has not cleared the bar
    return Verdict(ACCEPTED if score >= rule.threshold else "LowScore", score)


def refused(part: Part, _: Asked) -> str | None:
    return "Refused" if part.refused or part.finish == "content_filter" else None


def aborted(part: Part, _: Asked) -> str | None:
    return "Abort" if part.finish == "abort" else None


def empty(part: Part, _: Asked) -> str | None:
    return None if part.text.strip() or part.calls else "Empty"


def cut_off(part: Part, wants: Asked) -> str | None:
    """Ended by the engine's limit.  The client's own limit would cut the next tier's answer as well."""
    if part.finish != "length":
        return None
    own = wants.tokens_max is not None and len(part.tokens) >= wants.tokens_max
    return None if own else "Length"


def unparsable(part: Part, wants: Asked) -> str | None:
    """JSON was asked for and this is none, or not of its schema.  A tool call is an answer of another kind."""
    if not wants.json or part.calls:
        return None
    try:
        value = orjson.loads(part.text)
    except orjson.JSONDecodeError:
        return "InvalidJson"
    return None if wants.schema is None or schema.fits(value, wants.schema) else "SchemaMismatch"


def wrong_call(part: Part, wants: Asked) -> str | None:
    for call in part.calls.values():
        if call.name not in wants.tools:
            return "UnknownTool"
        try:
            value = orjson.loads(call.arguments or "{}")
        except orjson.JSONDecodeError:
            return "ToolArguments"
        parameters = wants.tools[call.name]
        if parameters is not None and not schema.fits(value, parameters):
            return "ToolArguments"
    return None


Validator = Callable[[Part, Asked], str | None]
_EARLY: tuple[Validator, ...] = (refused, aborted)
_VALIDATORS: tuple[Validator, ...] = (*_EARLY, empty, cut_off, unparsable, wrong_call)


def _tools(tools: object) -> Iterator[tuple[str, Any]]:
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield function["name"], function.get("parameters")
