"""More than a tier can do, replicas that are ill, an API that wants to be left alone: with real sockets."""

import asyncio
from dataclasses import dataclass, field

from modelfleet.api.route_table import ExternalTarget
from modelfleet.route.health import OUT_S, RETURN_S
from tests.router.rig import (
    GOOD,
    GOOD_STREAM,
    SSE_HEAD,
    Answer,
    Peer,
    Rig,
    cascade,
    chunk,
    engines,
    hang,
    one_tier,
    post,
    reply,
    router,
    stream,
    tier,
    token,
    until,
)


@dataclass
class Gate:
    """An engine that answers when told to, and knows how many it works on at once."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    working: int = 0
    most: int = 0

    async def act(self, peer: Peer) -> None:
        self.working += 1
        self.most = max(self.most, self.working)
        await self.open.wait()
        self.working -= 1
        await reply(GOOD)(peer)


def _sweep(rig: Rig, *, after_s: float) -> None:
    """Let time pass for the replicas."""
    rig.state.sweep(asyncio.get_running_loop().time() + after_s)


async def test_ten_times_too_much_is_held_in_part_and_refused_in_part():
    gate = Gate()
    async with one_tier([gate.act], concurrency=4, waiting=20) as (rig, _):
        asked = [asyncio.create_task(rig.ask(post())) for _ in range(40)]
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        await until(lambda: sum(stats.turned_away.values()) == 16 and gate.working == 4)
        # Refused without waiting for anybody; held ones are what the capacity loop sees.
        assert stats.in_flight == 24
        await until(lambda: sum(ask.done() for ask in asked) == 16)
        gate.open.set()
        answers = await asyncio.gather(*asked)

        good = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 429]
        assert (len(good), len(refused), gate.most) == (24, 16, 4)
        assert all(answer.error["code"] == "busy" for answer in refused)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert (stats.in_flight, stats.turned_away["QueueFull"]) == (0, 16)
        assert (await rig.ask(post())).status == 200


async def test_a_flood_leaves_the_engine_busy_and_not_more():
    served = 0

    async def work(peer: Peer) -> None:
        nonlocal served
        await asyncio.sleep(0.01)  # the work
        served += 1
        await reply(GOOD)(peer)

    async def client(rig: Rig) -> list[Answer]:
        return [await rig.ask(post()) for _ in range(10)]

    async with one_tier([work], [work], concurrency=2, waiting=4) as (rig, _):
        answers = [a for found in await asyncio.gather(*(client(rig) for _ in range(60))) for a in found]

        assert {answer.status for answer in answers} == {200, 429}
        # Nothing that an engine did was in vain.
        assert served == sum(answer.status == 200 for answer in answers)
        step = rig.state.fleet.lines["chat"].steps[0]
        assert (step.stats.in_flight, step.pool.stats.waiting) == (0, 0)
        assert [replica.in_flight for replica in step.pool.replicas] == [0, 0]


async def test_a_busy_tier_does_not_send_its_requests_to_the_dear_one():
    gate = Gate()
    async with engines([gate.act], [reply(GOOD)]) as (small, big):
        ports = {"small-svc": [small.port], "big-svc": [big.port]}
        tiers = (tier("small", weight=1000, concurrency=1), tier("big"))
        async with router(cascade(*tiers), ports) as rig:
            asked = [asyncio.create_task(rig.ask(post())) for _ in range(18)]
            await until(lambda: sum(ask.done() for ask in asked) == 1)
            gate.open.set()
            answers = await asyncio.gather(*asked)

            assert sorted(answer.status for answer in answers) == [200] * 17 + [429]
            assert not big.asked


async def test_deadline_ends_a_wait():
    async with one_tier([hang()], concurrency=1, deadline_s=0.3, timeout_s=60.0) as (rig, _):
        answers = await asyncio.gather(*(rig.ask(post()) for _ in range(3)))

        # The one who had the place, and those who waited: told so by the clock, or by a place that is free too late.
        codes = [answer.error["code"] for answer in answers]
        assert "deadline" in codes
        assert set(codes) <= {"deadline", "busy"}
        assert rig.state.fleet.lines["chat"].steps[0].stats.in_flight == 0


async def test_who_leaves_while_waiting_is_forgotten():
    gate = Gate()
    async with one_tier([gate.act], concurrency=1) as (rig, (engine,)):
        first = asyncio.create_task(rig.ask(post()))
        await until(lambda: gate.working == 1)
        _, writer = await rig.connect()
        writer.write(post())
        stats = rig.state.fleet.lines["chat"].steps[0].pool.stats
        await until(lambda: stats.waiting == 1)
        writer.transport.abort()
        await until(lambda: stats.waiting == 0)
        gate.open.set()

        assert (await first).status == 200
        assert len(engine.asked) == 1
        assert rig.state.fleet.lines["chat"].steps[0].stats.in_flight == 0


async def test_waiting_counts_in_the_time_to_first_token():
    gate = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await gate.wait()
        await stream(*GOOD_STREAM)(peer)

    async with one_tier([slow], concurrency=1) as (rig, _):
        asked = [asyncio.create_task(rig.ask(post(stream=True))) for _ in range(2)]
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        await until(lambda: stats.in_flight == 2)
        loop = asyncio.get_running_loop()
        seen_s = loop.time()
        await until(lambda: loop.time() - seen_s > 0.05)
        gate.set()
        await asyncio.gather(*asked)

        # Of both, and not only of the one that had a place.
        assert stats.first_token.sum_s >= 0.1


async def test_crashing_replica_is_taken_out_probed_and_brought_back():
    crashes = [reply({}, status=500)] * 5
    async with one_tier([*crashes, reply(GOOD)], [reply(GOOD)]) as (rig, found):
        pool = rig.state.fleet.lines["chat"].steps[0].pool
        while not pool.stats.ejected["ConsecutiveFailures"]:
            # Enough good ones for the retries' budget.
            assert (await rig.ask(post())).status in {200, 503}
        sick = next(engine for engine in found if len(engine.asked) == 5)
        for _ in range(6):
            assert (await rig.ask(post())).headers["x-modelfleet-attempts"] == "1"
        assert (len(sick.asked), pool.stats.out) == (5, 1)

        _sweep(rig, after_s=OUT_S * 1.3)
        while pool.stats.out:
            assert (await rig.ask(post())).status == 200
            _sweep(rig, after_s=OUT_S * 1.3)
        _sweep(rig, after_s=OUT_S * 1.3 + RETURN_S)
        assert {replica.health.state for replica in pool.replicas} == {"In"}


async def test_hanging_replica_is_taken_out():
    async with one_tier([hang()], [reply(GOOD)], timeout_s=0.05) as (rig, _):
        pool = rig.state.fleet.lines["chat"].steps[0].pool
        for _ in range(30):
            await rig.ask(post())

        assert pool.stats.out == 1
        answers = [await rig.ask(post()) for _ in range(4)]
        assert [answer.headers["x-modelfleet-attempts"] for answer in answers] == ["1"] * 4


async def test_when_all_fail_half_of_them_stay():
    crash = reply({}, status=500)
    async with one_tier([crash], [crash], [crash], [crash]) as (rig, _):
        pool = rig.state.fleet.lines["chat"].steps[0].pool
        for _ in range(60):
            await rig.ask(post())

        assert pool.stats.out == 2
        assert pool.budget.retries <= max(3, 0.2 * pool.budget.requests)


async def test_external_api_that_asks_for_rest_gets_it():
    busy = reply({}, status=429, fields="Retry-After: 30\r\n")
    async with engines([busy, reply(GOOD)], [reply(GOOD)]) as (api, small):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None)
        tiers = (tier("small"), tier("frontier", weight=1000, external=target))
        async with router(cascade(*tiers), {"small-svc": [small.port]}) as rig:
            answers = [await rig.ask(post()) for _ in range(4)]
            assert [answer.headers["x-modelfleet-tier"] for answer in answers] == ["small"] * 4
            assert len(api.asked) == 1

            _sweep(rig, after_s=37.0)
            assert (await rig.ask(post())).headers["x-modelfleet-tier"] == "frontier"


async def test_client_is_told_how_long_the_api_rests():
    busy = reply({}, status=503, fields="Retry-After: 30\r\n")
    async with engines([busy]) as (api,):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None)
        async with router(cascade(tier("frontier", weight=1000, external=target)), {}) as rig:
            answers = [await rig.ask(post()) for _ in range(3)]

            assert [answer.status for answer in answers] == [503] * 3
            assert all(30 <= int(answer.headers["retry-after"]) <= 36 for answer in answers)
            assert len(api.asked) == 1


async def test_tokens_of_an_api_are_counted_when_an_answer_tells_them():
    async with engines([reply(GOOD)]) as (api,):
        target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None, tokens_per_minute=60)
        route = cascade(tier("frontier", weight=1000, external=target), deadline_s=2.0)
        async with router(route, {}) as rig:
            first, second = [await rig.ask(post()) for _ in range(2)]
            # Nine tokens, of five that may come at once: four and one more are to be waited for.
            assert (first.status, second.status, second.error["code"]) == (200, 429, "rate_limit_exceeded")
            assert int(second.headers["retry-after"]) == 6
            assert len(api.asked) == 1


async def test_broken_stream_counts_against_its_replica():
    cut = hang(SSE_HEAD, chunk(token("a")))
    async with one_tier([cut], [stream(*GOOD_STREAM)], timeout_s=0.05) as (rig, _):
        pool = rig.state.fleet.lines["chat"].steps[0].pool
        for _ in range(12):
            await rig.ask(post(stream=True))

        assert pool.stats.out == 1


async def test_requests_that_begin_alike_meet_at_one_replica():
    async with one_tier(*([reply(GOOD)] for _ in range(3)), prefix_characters=16) as (rig, found):
        for topic in ("Bern", "Rome", "Oslo"):
            before = [len(engine.asked) for engine in found]
            for number in range(4):
                messages = [{"role": "user", "content": f"Tell me all about {topic}, part {number}."[8:]}]
                assert (await rig.ask(post(messages=messages))).status == 200
            went = [len(engine.asked) - count for engine, count in zip(found, before, strict=True)]
            assert sorted(went) == [0, 0, 4]
