"""Requests whose cost is bounded, over all that happens to them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest
from prometheus_client import generate_latest

from modelfleet.api.route_table import AcceptRule, Price
from modelfleet.router.fleet import Step
from tests.router.judged_rig import say, whole
from tests.router.rig import (
    DONE,
    Act,
    Answer,
    Engine,
    Rig,
    cascade,
    engines,
    hang,
    post,
    reply,
    router,
    stream,
    tier,
)

RULE = AcceptRule("MeanLogprob", -0.5)
# With 10 tokens of answer: 1 cent, 3 cents and 5 cents at most.
PRICES = (Price(0.0, 1000.0), Price(0.0, 3000.0), Price(0.0, 5000.0))
CENT = 10_000.0
SURE, UNSURE = whole("sure", -0.1), whole("unsure", -3.0)  # of 3 tokens each


@asynccontextmanager
async def three(
    *acts: Sequence[Act], cents: float, entry: int = 0, timeout_s: float = 5.0
) -> AsyncIterator[tuple[Rig, list[Engine]]]:
    """Three tiers, the first two with a rule."""
    names = ("small", "medium", "big")
    async with engines(*acts) as found:
        route = cascade(
            *(
                tier(
                    name,
                    weight=1000 * (place == entry),
                    accept=RULE if place < 2 else None,
                    engine="vllm",
                    price=PRICES[place],
                    timeout_s=timeout_s,
                )
                for place, name in enumerate(names)
            ),
            max_escalations=2,
            max_cost_microdollars=cents * CENT,
        )
        ports = {f"{name}-svc": [one.port] for name, one in zip(names, found, strict=True)}
        async with router(route, ports) as rig:
            yield rig, found


def _steps(rig: Rig) -> Sequence[Step]:
    return rig.state.fleet.lines["chat"].steps


async def ask(rig: Rig, *, max_tokens: int | None = 10, stream: bool = False) -> Answer:
    return await rig.ask(post(max_tokens=max_tokens, stream=stream))


async def test_what_can_be_paid_for_goes_all_the_way():
    async with three([reply(UNSURE)], [reply(UNSURE)], [reply(SURE)], cents=10) as (rig, found):
        answer = await ask(rig)

        assert answer.headers["x-modelfleet-tier"] == "big"
        assert [len(one.asked) for one in found] == [1, 1, 1]


async def test_an_escalation_that_could_cost_too_much_is_not_made():
    async with three([reply(UNSURE)], [reply(UNSURE)], [reply(SURE)], cents=4.5) as (rig, found):
        answer = await ask(rig)

        # 0.3 cents are paid and 3 are bound for medium; big could cost 5 more, so nothing is asked of its verdict.
        assert answer.headers["x-modelfleet-tier"] == "medium"
        assert [len(one.asked) for one in found] == [1, 1, 0]
        assert "logprobs" not in orjson.loads(found[1].asked[0].body)


async def test_the_best_answer_is_sent_when_the_rest_is_too_dear():
    # The medium tier hangs: what that costs is not known, so all of its 3 cents are gone.
    async with three([reply(UNSURE)], [hang()], [reply(SURE)], cents=7, timeout_s=0.1) as (rig, found):
        answer = await ask(rig)

        assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "small")
        assert answer.headers["x-modelfleet-accepted"] == "false"
        assert [len(one.asked) for one in found] == [1, 1, 0]


async def test_an_engine_that_refuses_is_not_paid():
    acts = ([reply(UNSURE)], [reply(b"{}", status=500)], [reply(SURE)])
    async with three(*acts, cents=7) as (rig, _):
        answer = await ask(rig)

        assert answer.headers["x-modelfleet-tier"] == "big"


async def test_a_request_enters_where_it_can_pay():
    async with three([reply(SURE)], [reply(SURE)], [reply(SURE)], cents=2, entry=2) as (rig, found):
        answer = await ask(rig)

        assert answer.headers["x-modelfleet-tier"] == "small"
        assert [len(one.asked) for one in found] == [1, 0, 0]


async def test_a_request_that_can_pay_nobody_is_refused():
    async with three([reply(SURE)], [reply(SURE)], [reply(SURE)], cents=0.5) as (rig, found):
        answer = await ask(rig)

        assert (answer.status, answer.error["code"]) == (400, "cost_limit_exceeded")
        assert answer.error["message"].startswith("This request could cost up to $0.010000")
        assert not any(one.asked for one in found)


async def test_without_max_tokens_only_the_prompt_is_counted():
    async with three([reply(SURE)], [reply(SURE)], [reply(SURE)], cents=0.5) as (rig, _):
        answer = await ask(rig, max_tokens=None)

        assert answer.status == 200


async def test_a_stream_that_is_stopped_counts_in_full():
    drafts = [stream(*(say("u", -3.0) for _ in range(40)), DONE)]
    # 10, 30 and 50 cents.  The draft did not tell its tokens: with 10 for it, medium and big are too much together.
    async with three(drafts, [stream(say("s"), DONE)], [reply(SURE)], cents=85) as (rig, found):
        answer = await ask(rig, max_tokens=100, stream=True)

        assert answer.headers["x-modelfleet-tier"] == "medium"
        assert [one.attempts["Escalated"] for one in (step.stats for step in _steps(rig))] == [1, 0, 0]
        assert "logprobs" not in orjson.loads(found[1].asked[0].body)


async def test_dollars_are_counted_by_tier():
    async with three([reply(UNSURE)], [reply(SURE)], [reply(SURE)], cents=100) as (rig, _):
        await ask(rig)
        told = generate_latest(rig.state.metrics.registry()).decode()

        dollars = {
            line.split(',tier="')[1].split('"')[0]: float(line.split()[-1])
            for line in told.splitlines()
            if line.startswith("modelfleet_router_cost_dollars_total{")
        }
        # Three tokens of each answer; what was not sent costs as well.
        assert dollars == pytest.approx({"small": 0.003, "medium": 0.009, "big": 0.0})
