"""What routers tell of external tiers, on its way to ModelTiers and Cascades."""

from copy import deepcopy

import pytest

from modelfleet import names
from modelfleet.api.key import Key
from modelfleet.control.router import REPORTS_S, ROUTER, reconcile_router
from modelfleet.control.tier import reconcile_tier
from tests.fakes import World
from tests.make import NAMESPACE, cascade_object, pod_object, tier_object

SHARED = Key(ROUTER, NAMESPACE, names.SHARED_ROUTER)
FRONTIER = Key("ModelTier", NAMESPACE, "frontier")


API = {
    **tier_object("frontier"),
    "spec": {"external": {"baseURL": "https://api.example.com/v1", "model": "big-1"}},
}


@pytest.fixture
def world() -> World:
    made = World()
    pod = pod_object(conditions=[{"type": "Ready", "status": "True"}], podIP="10.0.0.1")
    pod["metadata"]["labels"] = {names.LABEL_ROUTER: names.SHARED_ROUTER}
    made.add(tier_object(), deepcopy(API), cascade_object(), pod)
    return made


async def settled(world: World) -> tuple[str, str]:
    """What the ModelTier and the Cascade say once everybody who was told has looked."""
    told: list[Key] = []
    world.ctx.again = told.append
    assert await reconcile_router(SHARED, world.ctx) == REPORTS_S
    world.deliver()
    for key in told:
        assert key == FRONTIER
        await reconcile_tier(key, world.ctx)
        world.deliver()
    await reconcile_router(SHARED, world.ctx)
    world.deliver()
    tier, cascade = world.conditions("ModelTier", "frontier"), world.conditions("Cascade", "chat")
    return tier["Ready"], cascade["TiersReady"]


async def test_an_api_that_cannot_be_asked_is_not_ready_until_it_can_be(world: World):
    world.reports.down = {}
    assert (await settled(world))[0] == "True/External"

    world.reports.down = {"frontier": "TLS"}
    tier, cascade = await settled(world)
    assert tier == "False/TLSFailed"
    assert cascade.startswith("False/")

    world.reports.down = None
    assert (await settled(world))[0] == "False/TLSFailed", "silence changes nothing"

    world.reports.down = {}
    assert (await settled(world))[0] == "True/External"


async def test_an_operator_that_has_just_started_leaves_what_it_finds(world: World):
    world.reports.down = {"frontier": "Refused"}
    await settled(world)
    world.ctx.outages.clear()
    await reconcile_tier(FRONTIER, world.ctx)
    world.deliver()

    assert world.conditions("ModelTier", "frontier")["Ready"] == "False/Unreachable"


async def test_a_tier_that_no_cascade_names_is_nobodys_outage(world: World):
    world.reports.down = {"frontier": "Refused"}
    await settled(world)
    world.ctx.outages.clear()
    del world.cluster.objects[Key("Cascade", NAMESPACE, "chat")]
    world.ctx.view.forget(Key("Cascade", NAMESPACE, "chat"))
    await reconcile_tier(FRONTIER, world.ctx)
    world.deliver()

    assert world.conditions("ModelTier", "frontier")["Ready"] == "True/External"


async def test_one_router_that_can_ask_is_enough(world: World):
    world.reports.down = {"frontier": "Refused"}
    await settled(world)
    world.ctx.outages[Key(ROUTER, NAMESPACE, "dedicated")] = {"frontier": ""}
    await reconcile_tier(FRONTIER, world.ctx)
    world.deliver()

    assert world.conditions("ModelTier", "frontier")["Ready"] == "True/External"


async def test_nobody_is_told_what_is_known(world: World):
    world.reports.down = {"frontier": "TLS"}
    await settled(world)
    told: list[Key] = []
    world.ctx.again = told.append
    await reconcile_router(SHARED, world.ctx)

    assert told == []
