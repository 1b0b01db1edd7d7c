"""Requests that leave a tier which cannot take them: for which cause, how many, and where to.  With real sockets."""

import asyncio
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule, OverflowRule, RouteTable
from modelfleet.router.service import Insight
from tests.router.cold_rig import HOLD, held
from tests.router.rig import (
    GOOD,
    GOOD_STREAM,
    Act,
    Answer,
    Peer,
    cascade,
    config_map,
    engines,
    hang,
    post,
    reply,
    router,
    slices,
    stream,
    tier,
    until,
)
from tests.router.spill_rig import ALL, BROKEN, busy, counts, rule, tiers

Row = tuple[OverflowRule | None, dict[str, Any], tuple[int, str]]
WHERE: dict[str, Row] = {
    "fails, no rule: the next tier": (None, {"small": BROKEN}, (200, "medium")),
    "fails, Error in the rule: the next tier": (rule("Error"), {"small": BROKEN}, (200, "medium")),
    "fails, Error not in the rule: refused": (rule("Saturated", "Cold"), {"small": BROKEN}, (503, "")),
    "cold, no rule: the next tier": (None, {"small": None}, (200, "medium")),
    "cold, Cold in the rule: the next tier": (rule("Cold"), {"small": None}, (200, "medium")),
    "cold, Cold not in the rule: refused": (rule("Error"), {"small": None}, (503, "")),
    "cold, and the next one too: the one after it": (rule(), {"small": None, "medium": None}, (200, "big")),
    "fails, and the next one too: the one after it": (
        rule(),
        {"small": BROKEN, "medium": BROKEN},
        (200, "big"),
    ),
    "all are cold: refused": (rule(), {"small": None, "medium": None, "big": None}, (503, "")),
}


@pytest.mark.parametrize(("overflow", "broken", "want"), WHERE.values(), ids=WHERE)
async def test_where_a_request_goes(overflow: OverflowRule | None, broken: dict[str, Act | None], want: Any):
    acts = [[broken.get(name) or reply(GOOD)] for name in ("small", "medium", "big")]
    cold = [name for name, act in broken.items() if act is None]
    async with tiers(overflow, *acts, cold=cold) as (rig, _):
        answer = await rig.ask(post())

        assert (answer.status, answer.headers.get("x-modelfleet-tier", "")) == want
        moved = overflow is not None and answer.status == 200
        cause = "Cold" if "small" in cold else "Error"
        assert answer.headers.get("x-modelfleet-overflow") == (cause.lower() if moved else None)
        assert counts(rig) == ({cause: 1} if moved else {})
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) >= 1


async def test_a_busy_tier_is_left_for_a_free_place():
    gated = tiers(rule("Saturated"), [hang(), reply(GOOD)], [reply(GOOD)])
    async with gated as (rig, found), busy(rig, found):
        answer = await rig.ask(post())

        assert answer.headers["x-modelfleet-tier"] == "medium"
        assert answer.headers["x-modelfleet-overflow"] == "saturated"
        assert (answer.headers["x-modelfleet-attempts"], counts(rig)) == ("1", {"Saturated": 1})
        assert rig.state.fleet.lines["chat"].steps[0].pool.stats.waiting == 0


STAYS: dict[str, tuple[OverflowRule | None, Act]] = {
    "no rule": (None, reply(GOOD)),
    "Saturated is not in the rule": (rule("Cold", "Error"), reply(GOOD)),
    "the next tier is busy too": (rule(), hang()),
    "the share is used up": (rule(share=1), reply(GOOD)),
}


@pytest.mark.parametrize(("overflow", "next_act"), STAYS.values(), ids=STAYS)
async def test_a_busy_tier_is_waited_for_otherwise(overflow: OverflowRule | None, next_act: Act):
    gate = asyncio.Event()

    async def work(peer: Peer) -> None:
        await gate.wait()
        await reply(GOOD)(peer)

    async with tiers(overflow, [work], [next_act]) as (rig, found):
        pool = rig.state.fleet.lines["chat"].steps[0].pool
        first = asyncio.create_task(rig.ask(post()))
        await until(lambda: len(found[0].asked) == 1)
        # One to go where the rule lets it, and to keep the next tier busy or to use the share up.
        away = [asyncio.create_task(rig.ask(post()))] if overflow and "Saturated" in overflow.when else []
        await until(lambda: len(found[1].asked) == len(away))
        waits = asyncio.create_task(rig.ask(post()))
        await until(lambda: pool.stats.waiting == 1)
        gate.set()

        for answer in await asyncio.gather(first, waits):
            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "small")
            assert "x-modelfleet-overflow" not in answer.headers
        for task in away:
            task.cancel()


async def test_at_most_the_share_leaves_and_the_rest_is_held_or_refused():
    gate = asyncio.Event()

    async def work(peer: Peer) -> None:
        await gate.wait()
        await reply(GOOD)(peer)

    steps = [tier("small", weight=1000, concurrency=2, waiting=16), tier("big", concurrency=100, waiting=4)]
    async with tiers(rule(share=20), [work], [reply(GOOD)], steps=steps) as (rig, found):
        asked = [asyncio.create_task(rig.ask(post())) for _ in range(60)]
        await until(lambda: sum(task.done() for task in asked) == 60 - 2 - 16)
        gate.set()
        answers: list[Answer] = await asyncio.gather(*asked)

        left = [answer for answer in answers if "x-modelfleet-overflow" in answer.headers]
        refused = [answer for answer in answers if answer.status == 429]
        assert 10 <= len(left) <= 13  # a fifth of 60 and one in advance, less what came before it was earned
        assert len(refused) == 60 - 18 - len(left)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert len(found[1].asked) == len(left) == counts(rig)["Saturated"]


async def test_what_failed_beyond_the_share_is_refused():
    async with tiers(rule(share=25), [BROKEN], [reply(GOOD)]) as (rig, found):
        answers = [await rig.ask(post()) for _ in range(12)]

        # One in advance, then one in four.
        assert [answer.status for answer in answers] == [200, *[503] * 3, *([200, *[503] * 3] * 2)][:12]
        assert len(found[1].asked) == 3
        assert all("retry-after" in answer.headers for answer in answers if answer.status == 503)


async def test_three_attempts_at_a_tier_are_one_failure():
    async with engines(*[[BROKEN]] * 4, [reply(GOOD)]) as found:
        steps = (tier("small", weight=1000), tier("big"))
        for overflow, want in ((rule("Saturated"), 503), (rule("Error"), 200)):
            ports = {"small-svc": sorted(engine.port for engine in found[:4]), "big-svc": [found[4].port]}
            async with router(cascade(*steps, overflow=overflow), ports) as rig:
                answer = await rig.ask(post())

                assert (answer.status, answer.headers["x-modelfleet-attempts"]) == (
                    want,
                    "3" if want == 503 else "4",
                )


async def test_a_stream_says_so_in_its_headers_and_a_judged_one_in_its_comment():
    async with tiers(rule(), [BROKEN], [stream(*GOOD_STREAM)]) as (rig, _):
        assert (await rig.ask(post(stream=True))).headers["x-modelfleet-overflow"] == "error"
    steps = [tier("small", weight=1000, accept=AcceptRule("MeanLogprob", -0.5)), tier("big")]
    async with tiers(rule(), [BROKEN], [stream(*GOOD_STREAM)], steps=steps) as (rig, _):
        assert b" overflow=error" in (await rig.ask(post(stream=True))).body


async def test_a_cold_tier_is_waited_for_beyond_the_share():
    steps = [tier("small", weight=1000, cold=HOLD), tier("big")]
    async with tiers(rule("Cold", share=1), [reply(GOOD)], [reply(GOOD)], steps=steps, cold=["small"]) as (
        rig,
        found,
    ):
        assert (await rig.ask(post())).headers["x-modelfleet-overflow"] == "cold"
        waits = asyncio.create_task(rig.ask(post()))
        await until(lambda: held(rig) == 1)
        rig.state.endpoint_slices_changed(slices({"small-svc": [found[0].port], "big-svc": [found[1].port]}))
        answer = await waits

        assert (answer.headers["x-modelfleet-tier"], "x-modelfleet-overflow" in answer.headers) == (
            "small",
            False,
        )


HELD_TOO_LONG: dict[str, tuple[OverflowRule | None, tuple[int, str]]] = {
    "no rule: the next tier": (None, (200, "")),
    "Cold in the rule: the next tier": (rule("Cold"), (200, "cold")),
    "Cold not in the rule: refused": (rule("Error"), (503, "")),
}


@pytest.mark.parametrize(("overflow", "want"), HELD_TOO_LONG.values(), ids=HELD_TOO_LONG)
async def test_who_was_held_too_long_goes_where_the_rule_lets_it(
    overflow: OverflowRule | None, want: tuple[int, str]
):
    # The next tier is busy at first, so nobody goes there at once.
    steps = [tier("small", weight=1000, cold=HOLD), tier("big", concurrency=1)]
    async with tiers(overflow, [reply(GOOD)], [reply(GOOD)], steps=steps, cold=["small"]) as (rig, _):
        big = rig.state.fleet.lines["chat"].steps[1].pool
        (place,) = big.replicas
        place.in_flight += 1
        waits = asyncio.create_task(rig.ask(post()))
        await until(lambda: held(rig) == 1)
        place.in_flight -= 1
        rig.state.sweep(asyncio.get_running_loop().time() + HOLD.hold_s + 1)
        answer = await waits

        assert (answer.status, answer.headers.get("x-modelfleet-overflow", "")) == want


async def test_weights_and_what_is_counted_at_the_entry_stay_as_they_are():
    steps = [tier("small", weight=600), tier("big", weight=400)]
    async with tiers(rule(), [BROKEN], [reply(GOOD)], steps=steps) as (rig, _):
        for _ in range(4):
            await rig.ask(post())
        small, big = rig.state.fleet.lines["chat"].steps

        assert (small.stats.started, big.stats.started) == (4, 0)
        assert (small.stats.answered, big.stats.answered) == (0, 4)
        assert rig.state.fleet.lines["chat"].bounds == (600, 1000)


async def test_a_change_of_the_table_gives_no_new_credit():
    async with tiers(rule(share=1), [BROKEN], [reply(GOOD)]) as (rig, _):
        assert [(await rig.ask(post())).status for _ in range(2)] == [200, 503]
        line = rig.state.fleet.lines["chat"]
        table = RouteTable((cascade(*(step.route for step in line.steps), overflow=rule(share=2)),))
        rig.state.config_maps_changed(config_map(table, version="2"), now_s=2.0)

        assert (await rig.ask(post())).status == 503
        share = rig.state.fleet.lines["chat"].share
        assert share is not None
        assert (share.percent, share.requests, share.overflowed) == (2, 3, 1)


async def test_debug_table_and_metrics_say_what_left():
    async with tiers(rule(share=20), [BROKEN], [reply(GOOD)]) as (rig, _):
        for _ in range(3):
            await rig.ask(post())
        insight = Insight(rig.state, rig.state.metrics.registry(), loop=asyncio.get_running_loop())
        rig.server.on_request = insight.on_request
        shown = await rig.ask(b"GET /debug/table HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n")
        told = await rig.ask(b"GET /metrics HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n")

        assert orjson.loads(shown.body)["cascades"][0]["overflow"] == {
            "when": list(ALL), "maxShare": 20, "requestsLastMinute": 3, "overflowed": 1, "left": 0,
        }  # fmt: skip
        line = b'modelfleet_router_overflowed_total{cascade="c",fleet_namespace="ns",model_tier="small-mt",reason="Error",tier="small"} 1.0'
        assert line in told.body
