from dataclasses import replace
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule
from modelfleet.route.accept import Asked, Verdict, asked, judge
from modelfleet.route.draft import Draft, Part, ToolCall
from modelfleet.route.score import Token

RULE = AcceptRule("MeanLogprob", -0.5)
ANY = asked({})
CALM = Part(text="Paris", tokens=[Token("Paris", -0.1)], finish="stop")
JSON = asked({"response_format": {"type": "json_object"}})
SCHEMA = asked(
    {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"schema": {"type": "object", "required": ["city"]}},
        }
    }
)
ADD = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOLS = asked({"tools": [{"type": "function", "function": {"name": "add", "parameters": ADD}}]})


def _call(name: str, arguments: str) -> Part:
    return replace(CALM, text="", calls={0: ToolCall(name, arguments)})


ROWS: dict[str, tuple[Part, Asked, str]] = {
    "sure enough": (CALM, ANY, "Accepted"),
    "exactly at the threshold": (replace(CALM, tokens=[Token("x", -0.5)]), ANY, "Accepted"),
    "not sure enough": (replace(CALM, tokens=[Token("x", -0.51)]), ANY, "LowScore"),
    "nothing to score": (replace(CALM, tokens=[]), ANY, "Unscored"),
    "says nothing": (replace(CALM, text=" \n"), ANY, "Empty"),
    "refuses": (replace(CALM, refused=True), ANY, "Refused"),
    "was filtered": (replace(CALM, finish="content_filter"), ANY, "Refused"),
    "was killed": (replace(CALM, finish="abort"), ANY, "Abort"),
    "ran out of context": (replace(CALM, finish="length"), ANY, "Length"),
    "ran into the engine's limit below the client's": (
        replace(CALM, finish="length"),
        asked({"max_tokens": 9}),
        "Length",
    ),
    "ran into the client's own limit": (
        replace(CALM, finish="length"),
        asked({"max_tokens": 1}),
        "Accepted",
    ),
    "ran into the client's own limit, written with a point": (
        replace(CALM, finish="length"),
        asked({"max_tokens": 1.0}),
        "Accepted",
    ),
    "JSON as asked": (replace(CALM, text='{"a":1}'), JSON, "Accepted"),
    "no JSON where JSON was asked": (CALM, JSON, "InvalidJson"),
    "JSON cut short": (replace(CALM, text='{"a":'), JSON, "InvalidJson"),
    "fits its schema": (replace(CALM, text='{"city":"Paris"}'), SCHEMA, "Accepted"),
    "does not fit its schema": (replace(CALM, text='{"town":"Paris"}'), SCHEMA, "SchemaMismatch"),
    "calls a tool well": (_call("add", '{"a":1}'), TOOLS, "Accepted"),
    "answers in words where tools were offered": (CALM, TOOLS, "Accepted"),
    "calls what is not there": (_call("sub", '{"a":1}'), TOOLS, "UnknownTool"),
    "arguments that are no JSON": (_call("add", '{"a"'), TOOLS, "ToolArguments"),
    "arguments of a wrong type": (_call("add", '{"a":"one"}'), TOOLS, "ToolArguments"),
    "a tool call where JSON was asked too": (
        _call("add", '{"a":1}'),
        replace(TOOLS, json=True),
        "Accepted",
    ),
}


def _draft(*parts: Part) -> Draft:
    draft = Draft()
    draft.parts = dict(enumerate(parts))
    return draft


@pytest.mark.parametrize(("part", "wants", "reason"), ROWS.values(), ids=ROWS)
def test_verdict(part: Part, wants: Asked, reason: str):
    assert judge(RULE, _draft(part), wants, ended=True).reason == reason


@pytest.mark.parametrize("reason", ["Empty", "InvalidJson", "SchemaMismatch", "Length"])
def test_what_may_still_come_is_not_missing_yet(reason: str):
    part, wants, _ = next(row for row in ROWS.values() if row[2] == reason)

    assert judge(RULE, _draft(part), wants, ended=False).reason == "Accepted"


def test_the_worst_of_several_choices_counts():
    unsure = replace(CALM, tokens=[Token("x", -2.0)])

    assert judge(RULE, _draft(CALM, unsure, CALM), ANY, ended=True) == Verdict("LowScore", -2.0)
    assert judge(RULE, _draft(unsure, replace(CALM, text="")), ANY, ended=True).reason == "Empty"


def test_nothing_at_all_is_empty():
    assert judge(RULE, Draft(), ANY, ended=True).reason == "Empty"


def test_rank_prefers_what_can_be_used():
    worst_first = [
        Verdict("InvalidJson", None),
        Verdict("Empty", -0.1),
        Verdict("Unscored", None),
        Verdict("LowScore", -3.0),
        Verdict("LowScore", -0.6),
        Verdict("Accepted", -0.2),
    ]

    assert sorted(worst_first, key=lambda verdict: verdict.rank) == worst_first


WHOLE: dict[str, tuple[dict[str, Any], bool]] = {
    "a chat": ({}, False),
    "a long answer": ({"max_tokens": 500}, False),
    "a short answer": ({"max_completion_tokens": 16}, True),
    "JSON": ({"response_format": {"type": "json_object"}}, True),
    "text, said aloud": ({"response_format": {"type": "text"}}, False),
    "tools": ({"tools": [{"function": {"name": "add"}}]}, True),
    "rubbish everywhere": ({"tools": 7, "response_format": [], "max_tokens": "x"}, False),
}


@pytest.mark.parametrize(("fields", "whole"), WHOLE.values(), ids=WHOLE)
def test_what_is_judged_whole(fields: dict[str, Any], *, whole: bool):
    assert asked(orjson.loads(orjson.dumps(fields))).whole is whole
