"""Where nothing may overflow to, or only so much: forbidden tiers, spent rates, bad answers, unserved paths."""

import asyncio

import pytest

from modelfleet.api.route_table import AcceptRule, ExternalTarget
from tests.router.rig import (
    GOOD,
    Act,
    cascade,
    engines,
    hang,
    post,
    reply,
    router,
    tier,
    until,
)
from tests.router.spill_rig import BROKEN, busy, counts, restrict, rule, tiers

FORBIDDEN: dict[str, tuple[Act | None, int]] = {
    "its tier fails": (BROKEN, 503),
    "its tier is cold": (None, 503),
    "its tier refuses it": (reply({"error": {}}, status=429), 429),
}


@pytest.mark.parametrize(("act", "status"), FORBIDDEN.values(), ids=FORBIDDEN)
async def test_it_goes_only_where_the_request_may(act: Act | None, status: int):
    cold = ["small", "medium"] if act is None else []
    async with tiers(rule(), *[[act or reply(GOOD)]] * 2, [reply(GOOD)], cold=cold) as (rig, found):
        restrict(rig, 0, 1)
        answers = [await rig.ask(post()) for _ in range(3)]

        assert [answer.status for answer in answers] == [status] * 3
        assert found[2].asked == []


async def test_a_busy_tier_is_waited_for_where_the_free_one_is_forbidden():
    async with tiers(rule(), [hang(), reply(GOOD)], [hang()], [reply(GOOD)]) as (rig, found):
        restrict(rig, 0, 1)
        async with busy(rig, found):
            second, third = (asyncio.create_task(rig.ask(post())) for _ in range(2))
            pool = rig.state.fleet.lines["chat"].steps[0].pool
            await until(lambda: len(found[1].asked) == 1 and pool.stats.waiting == 1)

            assert found[2].asked == []
        second.cancel()
        third.cancel()


def whole(logprob: float, text: str = "yes") -> Act:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": [{"token": text, "logprob": logprob}]},
        "finish_reason": "stop",
    }
    return reply({"object": "chat.completion", "choices": [choice]})


JUDGED = {
    "sure: its answer": (whole(-0.1), 1, ("medium", "0")),
    "unsure: escalated from there": (whole(-3.0), 1, ("big", "1")),
    "unsure, no escalation left: its answer": (whole(-3.0), 0, ("medium", "0")),
}


@pytest.mark.parametrize(("act", "escalations", "want"), JUDGED.values(), ids=JUDGED)
async def test_a_tier_judges_what_overflows_to_it(act: Act, escalations: int, want: tuple[str, str]):
    accept = AcceptRule("MeanLogprob", -0.5)
    steps = [tier("small", weight=1000, accept=accept), tier("medium", accept=accept), tier("big")]
    async with tiers(rule(), [BROKEN], [act], [reply(GOOD)], steps=steps, max_escalations=escalations) as (
        rig,
        _,
    ):
        answer = await rig.ask(post())

        headers = answer.headers
        assert (headers["x-modelfleet-tier"], headers["x-modelfleet-escalations"]) == want
        assert headers["x-modelfleet-overflow"] == "error"


async def test_an_escalation_that_meets_a_busy_tier_overflows_within_the_share():
    accept = AcceptRule("MeanLogprob", -0.5)
    steps = [
        tier("small", weight=1000, accept=accept),
        tier("medium", accept=accept, concurrency=1, waiting=0),
        tier("big"),
    ]
    async with tiers(rule(share=1), [whole(-3.0)], [hang()], [reply(GOOD)], steps=steps) as (rig, found):
        held = asyncio.create_task(rig.ask(post()))
        await until(lambda: len(found[1].asked) == 1)
        away = await rig.ask(post())

        assert (away.headers["x-modelfleet-tier"], away.headers["x-modelfleet-overflow"]) == (
            "big",
            "saturated",
        )
        assert counts(rig, "medium") == {"Saturated": 1}
        held.cancel()


async def test_an_api_takes_what_overflows_and_its_retries_have_a_budget():
    async with engines([BROKEN], [reply(GOOD)]) as found:
        target = ExternalTarget(f"http://127.0.0.1:{found[1].port}/v1", None, None)
        steps = (tier("small", weight=1000), tier("api", external=target))
        async with router(cascade(*steps, overflow=rule()), {"small-svc": [found[0].port]}) as rig:
            answers = [await rig.ask(post()) for _ in range(10)]

            assert {answer.headers["x-modelfleet-tier"] for answer in answers} == {"api"}
            budget = rig.state.fleet.lines["chat"].steps[1].pool.budget
            assert (budget.requests, budget.retries) == (10, 0)


async def test_an_api_whose_rate_is_used_up_is_saturated():
    async with engines([reply(GOOD)], [reply(GOOD)]) as (api, big):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None, requests_per_minute=1)
        steps = (tier("api", weight=1000, external=target), tier("big"))
        async with router(cascade(*steps, overflow=rule("Saturated")), {"big-svc": [big.port]}) as rig:
            answers = [await rig.ask(post()) for _ in range(3)]

            assert [answer.headers["x-modelfleet-tier"] for answer in answers] == ["api", "big", "big"]
            assert [answer.headers.get("x-modelfleet-overflow") for answer in answers] == [
                None,
                *["saturated"] * 2,
            ]


async def test_nothing_overflows_to_an_api_whose_rate_is_used_up():
    async with engines([BROKEN], [reply(GOOD)]) as (small, api):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None, requests_per_minute=1)
        steps = (tier("small", weight=1000), tier("api", external=target))
        async with router(
            cascade(*steps, overflow=rule(), deadline_s=2.0), {"small-svc": [small.port]}
        ) as rig:
            answers = [await rig.ask(post()) for _ in range(3)]

            assert [answer.status for answer in answers] == [200, 429, 429]
            assert len(api.asked) == 1


async def test_who_is_refused_is_told_when_its_own_tier_has_room_again():
    async with engines([reply(GOOD)], [reply(GOOD)]) as (api, big):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None, requests_per_minute=1)
        steps = (tier("api", weight=1000, external=target), tier("big"))
        async with router(cascade(*steps, deadline_s=2.0), {"big-svc": [big.port]}) as rig:
            first, second = [await rig.ask(post()) for _ in range(2)]

            assert (first.status, second.status) == (200, 429)
            assert int(second.headers["retry-after"]) == 30, (
                "the other tier is free, and not for this request"
            )


async def test_a_tier_that_does_not_serve_a_path_is_passed_by_all_requests_for_it():
    vectors = reply({"object": "list", "data": [], "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    async with tiers(rule("Saturated", share=1), [reply({}, status=501)], [vectors]) as (rig, _):
        ask = post({"model": "chat", "input": "hi"}, path="/v1/embeddings")
        answers = [await rig.ask(ask) for _ in range(3)]

        assert [answer.status for answer in answers] == [200] * 3
        assert counts(rig) == {}
