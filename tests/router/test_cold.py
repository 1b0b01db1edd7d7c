"""A tier that runs nothing: requests wait for its first replica, somebody is told, and nobody waits for ever."""

import asyncio

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule, ColdRule, OverflowRule, RouterRules, RouteTable
from modelfleet.router import judged, pool
from tests.router.cold_rig import HOLD, cold, cold_route, held, operators, turned_away, waiting
from tests.router.rig import (
    GOOD,
    GOOD_STREAM,
    Peer,
    cascade,
    config_map,
    engines,
    post,
    read_answer,
    reply,
    router,
    slices,
    stream,
    tier,
    token,
    until,
)


async def test_requests_wait_for_the_first_replica_and_are_served_in_order():
    async with engines([reply(GOOD)]) as (engine,), cold(concurrency=1) as rig:
        tasks = await waiting(rig, 4)
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        answers = await asyncio.gather(*tasks)

        assert [answer.status for answer in answers] == [200] * 4
        assert [orjson.loads(peer.body)["user"] for peer in engine.asked] == ["u0", "u1", "u2", "u3"]
        assert held(rig) == 0
        assert rig.state.pools["small-mt", ""].stats.holds == 4


async def test_no_more_than_its_places_go_to_the_first_replica_at_once():
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await release.wait()
        await reply(GOOD)(peer)

    async with engines([slow]) as (engine,), cold(concurrency=2) as rig:
        tasks = await waiting(rig, 5)
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        await until(lambda: len(engine.asked) == 2)
        assert rig.state.pools["small-mt", ""].stats.waiting == 3
        release.set()

        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 5


async def test_who_waits_is_not_forgotten_when_the_table_says_that_the_tier_is_awake():
    async with engines([reply(GOOD)]) as (engine,), cold() as rig:
        (task,) = await waiting(rig, 1)
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        rig.state.config_maps_changed(config_map(RouteTable((cold_route(None),)), version="2"), now_s=2.0)

        assert (await task).status == 200


BOUNDS = {
    "one router: all of it": (3, 1, 3),
    "three routers: each its part": (7, 3, 2),
    "more routers than requests: each holds one": (2, 5, 1),
    "nothing may wait": (0, 1, 0),
}


@pytest.mark.parametrize(("held_max", "routers", "want"), BOUNDS.values(), ids=BOUNDS)
async def test_beyond_the_bound_requests_are_refused_and_told_when_to_come_back(
    held_max: int, routers: int, want: int
):
    async with cold(ColdRule(60.0, held_max), rules=RouterRules(routers=routers)) as rig:
        tasks = await waiting(rig, want)
        answer = await rig.ask(post())

        assert (answer.status, answer.error["code"]) == (503, "cold")
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert turned_away(rig, "HoldFull") == 1
        assert held(rig) == want
        for task in tasks:
            task.cancel()


async def test_large_bodies_fill_the_line_sooner(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool, "HELD_BYTES_MAX", 1000)
    async with cold() as rig:
        tasks = await waiting(rig, 1, note="x" * 2000)  # one may always wait
        answer = await rig.ask(post(note="x" * 2000))

        assert (answer.status, answer.error["code"]) == (503, "cold")
        assert held(rig) == 1
        tasks[0].cancel()


async def test_a_stream_that_comes_to_a_tier_that_sleeps_is_kept_alive_too(monkeypatch: pytest.MonkeyPatch):
    """It entered at one that works, and that failed; nobody judges anything in this cascade."""
    monkeypatch.setattr(judged, "KEEP_ALIVE_S", 0.05)
    async with engines([reply({}, status=500)], [stream(*GOOD_STREAM)]) as (small, big):
        route = cascade(tier("small", weight=1000), tier("big", cold=HOLD))
        async with router(route, {"small-svc": [small.port]}) as rig:
            reader, writer = await rig.connect()
            writer.write(post(stream=True))
            await reader.readuntil(b": still at work\n\n")
            ports = {"small-svc": [small.port], "big-svc": [big.port]}
            rig.state.endpoint_slices_changed(slices(ports))
            rest = await reader.readuntil(b"data: [DONE]\n\n")

            assert token("a") in rest
            assert b": modelfleet tier=big attempts=2 " in rest
            writer.close()


async def test_a_stream_that_need_not_wait_comes_as_its_engine_sent_it():
    async with engines([stream(*GOOD_STREAM)]) as (small,):
        route = cascade(tier("small", weight=1000), tier("big", cold=HOLD))
        async with router(route, {"small-svc": [small.port]}) as rig:
            answer = await rig.ask(post(stream=True))

            assert answer.body == b"".join(each for each in GOOD_STREAM if b"usage" not in each)


async def test_the_time_until_the_first_replica_is_no_time_to_first_token():
    async with engines([stream(*GOOD_STREAM)]) as (engine,), cold() as rig:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        (task,) = await waiting(rig, 1, stream=True)
        await until(lambda: loop.time() >= began_s + 0.3)
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        await task

        assert rig.state.fleet.lines["chat"].steps[0].stats.first_token.sum_s < loop.time() - began_s - 0.3


async def test_nobody_waits_longer_than_the_rule_allows():
    async with cold(ColdRule(5.0, 10)) as rig:
        (task,) = await waiting(rig, 1)
        now_s = asyncio.get_running_loop().time()
        rig.state.sweep(now_s + 4.0)
        assert held(rig) == 1
        rig.state.sweep(now_s + 6.0)
        answer = await task

        assert (answer.status, answer.error["code"]) == (503, "cold")
        assert turned_away(rig, "HoldTimeout") == 1


async def test_a_shorter_deadline_wins():
    async with cold(deadline_s=0.1) as rig:
        answer = await rig.ask(post())

        assert (answer.status, answer.error["code"]) == (504, "deadline")
        assert held(rig) == 0


async def test_who_leaves_is_not_waited_for():
    async with engines([reply(GOOD)]) as (engine,), cold() as rig:
        gone = await rig.connect()
        gone[1].write(post(user="gone"))
        await until(lambda: held(rig) == 1)
        gone[1].close()
        await until(lambda: held(rig) == 0)
        (task,) = await waiting(rig, 1)
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        await task

        assert [orjson.loads(peer.body)["user"] for peer in engine.asked] == ["u0"]


async def test_a_tier_that_cannot_start_keeps_nobody():
    async with cold() as rig:
        (task,) = await waiting(rig, 1)
        rig.state.config_maps_changed(config_map(RouteTable((cold_route(None),)), version="2"), now_s=2.0)

        assert (await task).status == 503
        assert turned_away(rig, "NoReplica") == 1


async def test_a_stream_is_kept_alive_while_it_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judged, "KEEP_ALIVE_S", 0.02)
    async with engines([stream(*GOOD_STREAM)]) as (engine,), cold() as rig:
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"\n\n\r\n") == b"11\r\n: still at work\n\n\r\n"
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        rest = await reader.read()
        writer.close()

        assert head.startswith(b"HTTP/1.1 200")
        assert b"content-type: text/event-stream" in head.lower()
        assert rest.endswith(b"0\r\n\r\n")
        assert b"data: [DONE]" in rest
        assert b": modelfleet tier=small attempts=1" in rest


async def test_a_stream_that_waited_in_vain_ends_with_an_error_event(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judged, "KEEP_ALIVE_S", 0.02)
    async with cold(ColdRule(5.0, 10)) as rig:
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        await until(lambda: held(rig) == 1)
        await reader.readuntil(b"still at work\n\n\r\n")
        rig.state.sweep(asyncio.get_running_loop().time() + 6.0)
        rest = await reader.read()
        writer.close()

        assert b'data: {"error":{"message":"This model is starting' in rest
        assert b"[DONE]" not in rest
        assert not rest.endswith(b"0\r\n\r\n")


async def test_a_whole_answer_gets_no_comment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judged, "KEEP_ALIVE_S", 0.001)
    async with engines([reply(GOOD)]) as (engine,), cold() as rig:
        reader, writer = await rig.connect()
        writer.write(post())
        await until(lambda: held(rig) == 1)
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        answer = await read_answer(reader)
        writer.close()

        assert orjson.loads(answer.body) == GOOD


async def test_what_is_not_good_enough_waits_for_a_cold_tier():
    route = cascade(
        tier("small", weight=1000, engine="llamaCpp", accept=AcceptRule("MeanLogprob", -0.5)),
        tier("big", cold=HOLD),
    )
    told = {"content": [{"token": "x", "logprob": -2.0, "top_logprobs": []}]}
    unsure = {**GOOD, "choices": [{**GOOD["choices"][0], "logprobs": told}]}  # type: ignore[dict-item]
    async with engines([reply(unsure)], [reply(GOOD)]) as (small, big), router(route, {}) as rig:
        rig.state.endpoint_slices_changed(slices({"small-svc": [small.port]}))
        task = asyncio.create_task(rig.ask(post()))
        await until(lambda: rig.state.pools["big-mt", ""].stats.held == 1)
        rig.state.endpoint_slices_changed(slices({"small-svc": [small.port], "big-svc": [big.port]}))

        assert (await task).headers["x-modelfleet-tier"] == "big"


async def test_what_may_overflow_does_not_wait_but_wakes_the_tier():
    async with engines([reply(GOOD)]) as (big,), operators([202]) as (calls, rules):
        route = cascade(
            tier("small", weight=1000, cold=HOLD), tier("big"), overflow=OverflowRule(("Cold",), 100)
        )
        async with router(route, {"big-svc": [big.port]}, rules=rules) as rig:
            answer = await rig.ask(post())
            await until(lambda: len(calls) == 1)

            assert (answer.status, answer.headers["x-modelfleet-tier"]) == (200, "big")
            assert held(rig) == 0
