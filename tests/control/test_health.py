import asyncio

from modelfleet.api.key import Key
from modelfleet.control.health import OVERDUE_LIMIT_S, Health
from modelfleet.control.queue import STUCK_LIMIT_S, WorkQueue
from tests.fakes import World
from tests.make import tier_object


async def nothing(_: Key) -> float | None:
    return None


def health(world: World, *, synced: bool = True) -> Health:
    return Health(world.ctx, WorkQueue(nothing, world.clock), lambda: synced)


def test_all_is_well():
    assert health(World()).unhealthy() is None
    assert health(World()).not_ready() is None


def test_before_everything_is_listed_it_is_alive_but_not_ready():
    starting = health(World(), synced=False)

    assert starting.unhealthy() is None
    assert "listed" in str(starting.not_ready())


def test_a_silent_watch_fails_liveness_and_names_what_did_not_come():
    world = World()
    written = world.cluster.put(tier_object())
    world.ctx.view.written(written, now_s=world.clock.time_s)
    world.clock.time_s += OVERDUE_LIMIT_S
    assert health(world).unhealthy() is None

    world.clock.time_s += 1
    assert "ModelTier models/small" in str(health(world).unhealthy())
    assert health(world).not_ready()

    world.ctx.view.watched(written)
    assert health(world).unhealthy() is None


async def test_a_stuck_queue_fails_liveness():
    world, started, hang = World(), asyncio.Event(), asyncio.Event()

    async def work(_: Key) -> float | None:
        started.set()
        await hang.wait()
        return None

    judge = Health(world.ctx, WorkQueue(work, world.clock), lambda: True)
    judge.queue.add(Key("ModelTier", "ns", "a"))
    running = asyncio.create_task(judge.queue.run())
    await asyncio.wait_for(started.wait(), 10)
    world.clock.time_s += STUCK_LIMIT_S + 1

    assert "stuck" in str(judge.unhealthy())

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
