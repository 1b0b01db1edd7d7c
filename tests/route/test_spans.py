from typing import Any

import pytest

from modelfleet.api.route_table import TierRoute
from modelfleet.route import spans
from modelfleet.route.account import ANSWERED, REFUSED, End
from modelfleet.route.journey import Journey

TIER = TierRoute("small", "small-mt", "smollm2", 1000, 5.0, "svc", None, engine="llamaCpp")


def test_attempt_tells_numbers_and_nothing_that_was_said():
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": "CANARY"}],
        "max_tokens": 7,
        "max_completion_tokens": 1 << 63,  # more than a span can hold
        "temperature": 0.5,
        "seed": "CANARY",
        "n": True,
        "stop": ["CANARY"],
        "user": "CANARY",
    }

    told = spans.attempt(b"/v1/chat/completions", TIER, fields, host="10.0.0.7", port=8080)

    assert told == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "llama_cpp", "gen_ai.request.model": "smollm2",
        "server.address": "10.0.0.7", "server.port": 8080,
        "modelfleet.tier": "small", "modelfleet.model_tier": "small-mt",
        "gen_ai.request.max_tokens": 7, "gen_ai.request.temperature": 0.5,
    }  # fmt: skip


OUTCOMES: dict[str, tuple[str, tuple[int | None, int] | None, dict[str, Any]]] = {
    "answered": (
        "Answered",
        (10, 3),
        {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 3},
    ),
    "given up before it told its prompt": ("Escalated", (None, 3), {"gen_ai.usage.output_tokens": 3}),
    "left by its client": ("Cancelled", None, {}),
    "failed": ("Status5xx", None, {"error.type": "Status5xx"}),
}


@pytest.mark.parametrize(("word", "used", "want"), OUTCOMES.values(), ids=OUTCOMES)
def test_outcome(word: str, used: tuple[int | None, int] | None, want: dict[str, Any]):
    assert spans.outcome(word, used) == {"modelfleet.outcome": word, **want}


def test_answer_tells_an_error_that_was_not_the_clients():
    codes = [
        spans.answer(End(how, status, code, 1.0), Journey()).get("error.type")
        for how, status, code in (
            (ANSWERED, 200, None),
            (REFUSED, 404, "model_not_found"),
            (REFUSED, 503, "unavailable"),
        )
    ]

    assert codes == [None, None, "unavailable"]
