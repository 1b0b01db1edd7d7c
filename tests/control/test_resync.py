import asyncio

from modelfleet.api.key import Key
from modelfleet.control.resync import Resync
from modelfleet.errors import ClusterError
from tests.fakes import World
from tests.make import NAMESPACE, deployment_object, tier_object

KEY = Key("ModelTier", NAMESPACE, "small")


async def test_what_the_watch_missed_is_found():
    world, keys = World(), []
    world.cluster.put(tier_object())

    await Resync(world.ctx, namespaces=(), add=keys.append).once()

    assert keys == [KEY]
    assert world.ctx.view.get(KEY)


async def test_nothing_new_names_nothing():
    world, keys = World(), []
    world.add(tier_object())

    await Resync(world.ctx, namespaces=(), add=keys.append).once()

    assert keys == []


async def test_an_object_that_vanished_unseen_is_dropped():
    world, keys = World(), []
    world.add(tier_object(), tier_object("other"))
    del world.cluster.objects[KEY]

    await Resync(world.ctx, namespaces=(), add=keys.append).once()

    assert world.ctx.view.get(KEY) is None
    assert Key("ModelTier", NAMESPACE, "other") in keys


async def test_only_the_namespaces_asked_for_are_listed():
    world, keys = World(), []
    world.cluster.put(tier_object())

    await Resync(world.ctx, namespaces=("elsewhere",), add=keys.append).once()

    assert keys == []


async def test_it_is_synced_once_everything_was_listed():
    world = World()

    async def refuse(kind: str, *, namespace: str | None = None) -> None:
        raise ClusterError("down")

    listing, world.cluster.list = world.cluster.list, refuse  # type: ignore[method-assign, assignment]
    resync = Resync(world.ctx, namespaces=(), add=lambda _: None)
    task = asyncio.create_task(resync.run())
    await asyncio.sleep(0)
    assert not resync.synced.is_set()

    world.cluster.list = listing  # type: ignore[method-assign]
    await asyncio.wait_for(resync.synced.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def overdue(world: World) -> list[Key]:
    """Clear up half a minute later; the keys that were named."""
    keys: list[Key] = []
    world.clock.time_s += 30.0
    await Resync(world.ctx, namespaces=(), add=keys.append).clear()
    return keys


async def test_an_object_that_came_and_went_between_two_watches_is_forgotten():
    world = World()
    world.ctx.view.written(world.cluster.put(tier_object()), now_s=world.clock.time_s)
    del world.cluster.objects[KEY]

    assert await overdue(world) == [KEY]
    assert world.ctx.view.overdue_s(world.clock.time_s) == 0.0


async def test_a_child_that_lost_our_label_is_forgotten():
    world = World()
    child = deployment_object()
    child["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "modelfleet"}
    world.ctx.view.written(world.cluster.put(child), now_s=world.clock.time_s)
    del world.cluster.objects[Key("Deployment", NAMESPACE, "small-tier")]["metadata"]["labels"]

    await overdue(world)

    assert world.ctx.view.overdue_s(world.clock.time_s) == 0.0


async def test_what_is_still_there_is_owed_by_the_watch():
    world = World()
    world.ctx.view.written(world.cluster.put(tier_object()), now_s=world.clock.time_s)

    assert await overdue(world) == []
    assert world.ctx.view.overdue_s(world.clock.time_s) == 30.0
