import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from modelfleet import names
from modelfleet.api.meta import rfc3339
from modelfleet.plan.snapshot import Name, Quiet
from tests.control.capacity.fleet import CHAT, SMALL, Fleet

SMALL_TIER = Name("ns", "small")
HOUR_S = 3600.0
SHARED = names.router()


def quiet(for_s: float = HOUR_S, held: float = 0.0) -> dict[str, Quiet]:
    return {"small": Quiet(for_s, held), "medium": Quiet(for_s, held)}


@pytest.fixture
def fleet() -> Fleet:
    """Its small tier may sleep after half an hour; its router has had nothing to do for an hour."""
    made = Fleet()
    scaling = {
        "minReplicas": 0,
        "maxReplicas": 5,
        "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}],
        "idle": {"after": "30m"},
    }
    spec = {"model": {"uri": "pvc://models/m.gguf"}, "llamaCpp": {"slots": 4}, "scaling": scaling}
    made.apply("ModelTier", "small", spec)
    made.pod("router-0", names.LABEL_ROUTER, SHARED, address="10.0.0.1")
    made.routers.said = {"10.0.0.1": quiet()}
    made.in_flight(0.0)
    return made


def cold(fleet: Fleet) -> tuple[str, str]:
    found = {each["type"]: each for each in fleet.status(SMALL)["conditions"]}["Cold"]
    return found["status"], found["reason"]


async def asleep(fleet: Fleet) -> None:
    await fleet.tick()
    assert fleet.status(SMALL)["desiredReplicas"] == 0
    fleet.store.objects = {key: thing for key, thing in fleet.store.objects.items() if key.name != "small-0"}


async def test_a_tier_that_no_router_needs_goes_to_sleep_and_keeps_its_entries(fleet: Fleet):
    await asleep(fleet)
    await fleet.loop.rebalance()

    assert cold(fleet) == ("True", "Idle")
    assert fleet.condition(SMALL) == ("True", "Idle")
    assert ("small", "ScaledDown") in [event[:2] for event in fleet.told.events]
    assert fleet.weights() == {"s": 1000, "m": 0}


async def test_it_sleeps_when_nobody_measures_load(fleet: Fleet):
    fleet.prometheus.answer = None
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 0


def second(fleet: Fleet, *, ready: bool = True, address: str | None = "10.0.0.2") -> None:
    fleet.pod("router-1", names.LABEL_ROUTER, SHARED, ready=ready, address=address)


def a_router_is_silent(fleet: Fleet) -> None:
    second(fleet)


def a_router_has_no_address(fleet: Fleet) -> None:
    second(fleet, address=None)


def a_router_does_not_know_the_tier_yet(fleet: Fleet) -> None:
    second(fleet)
    fleet.routers.said["10.0.0.2"] = {"medium": Quiet(HOUR_S, 0.0)}


def a_router_had_a_request(fleet: Fleet) -> None:
    second(fleet)
    fleet.routers.said["10.0.0.2"] = quiet(1700.0)


def a_router_on_its_way_out_has_one_still(fleet: Fleet) -> None:
    second(fleet, ready=False)
    fleet.routers.said["10.0.0.2"] = quiet(0.0)


def no_router_is_ready(fleet: Fleet) -> None:
    fleet.pod("router-0", names.LABEL_ROUTER, SHARED, ready=False, address="10.0.0.1")


def a_request_is_held(fleet: Fleet) -> None:
    fleet.routers.said = {"10.0.0.1": quiet(held=1.0)}


def its_cascade_is_paused(fleet: Fleet) -> None:
    fleet.store.objects[CHAT]["metadata"]["annotations"] = {names.ANNOTATION_PAUSED: "true"}


REASONS = [
    a_router_is_silent,
    a_router_has_no_address,
    a_router_does_not_know_the_tier_yet,
    a_router_had_a_request,
    a_router_on_its_way_out_has_one_still,
    no_router_is_ready,
    a_request_is_held,
    its_cascade_is_paused,
]


@pytest.mark.parametrize("happens", REASONS)
async def test_it_stays_awake_because(fleet: Fleet, happens: Callable[[Fleet], None]):
    happens(fleet)
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 1
    assert cold(fleet) == ("False", "Awake")


async def test_a_router_that_is_not_ready_and_says_nothing_keeps_nobody_awake(fleet: Fleet):
    second(fleet, ready=False)
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 0


async def test_what_a_router_had_that_is_gone_since_is_remembered(fleet: Fleet):
    a_router_had_a_request(fleet)
    await fleet.tick()
    del fleet.routers.said["10.0.0.2"]
    fleet.store.objects = {k: v for k, v in fleet.store.objects.items() if k.name != "router-1"}
    await fleet.tick()
    assert fleet.status(SMALL)["desiredReplicas"] == 1

    await fleet.tick(after_s=100.0)
    assert fleet.status(SMALL)["desiredReplicas"] == 0


@asynccontextmanager
async def leading(fleet: Fleet) -> AsyncIterator[None]:
    """The loop runs, and has had its first tick."""
    task = asyncio.create_task(fleet.loop.run())
    await until(lambda: "desiredReplicas" in fleet.status(SMALL))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not true():  # noqa: ASYNC110 - the condition is of another task's making
            await asyncio.sleep(0.005)


async def test_a_call_wakes_it_at_once(fleet: Fleet):
    async with leading(fleet):
        assert fleet.status(SMALL)["desiredReplicas"] == 0
        assert fleet.loop.wake(SMALL_TIER) == "Accepted"
        await until(lambda: fleet.status(SMALL)["desiredReplicas"] == 1)

        assert fleet.status(SMALL)["lastScale"]["reason"] == "WokenUp"
        assert cold(fleet) == ("True", "WokenUp")
        assert ("small", "ScaledUp") in [event[:2] for event in fleet.told.events]
        await until(lambda: fleet.loop.wake(SMALL_TIER) == "NotAsleep")


FORGED = {
    "it does not exist": Name("ns", "nobody"),
    "it cannot sleep": Name("ns", "medium"),
    "it is in another namespace": Name("other", "small"),
}


@pytest.mark.parametrize("name", FORGED.values(), ids=FORGED)
async def test_a_call_for_anything_else_does_nothing(fleet: Fleet, name: Name):
    async with leading(fleet):
        assert fleet.loop.wake(name) == "NotAsleep"


async def test_only_the_leader_takes_calls(fleet: Fleet):
    assert fleet.loop.wake(SMALL_TIER) == "NotLeader"
    async with leading(fleet):
        assert fleet.loop.wake(SMALL_TIER) == "Accepted"
    assert fleet.loop.wake(SMALL_TIER) == "NotLeader"


async def test_a_call_is_not_forgotten_while_the_api_server_refuses(fleet: Fleet):
    async with leading(fleet):
        fleet.store.refuses = True
        assert fleet.loop.wake(SMALL_TIER) == "Accepted"
        await fleet.loop.rebalance()
        assert fleet.status(SMALL)["desiredReplicas"] == 0
        fleet.store.refuses = False
        await fleet.loop.rebalance()

        assert fleet.status(SMALL)["desiredReplicas"] == 1


async def test_what_routers_hold_wakes_it_when_no_call_came_through(fleet: Fleet):
    await asleep(fleet)
    fleet.routers.said = {"10.0.0.1": quiet(0.0, held=3.0)}
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 1


async def woken(fleet: Fleet) -> None:
    await asleep(fleet)
    fleet.routers.said = {"10.0.0.1": quiet(0.0, held=1.0)}
    await fleet.tick()


async def test_requests_may_wait_until_a_replica_has_been_ready_for_a_moment(fleet: Fleet):
    await woken(fleet)
    assert cold(fleet) == ("True", "WokenUp")
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), since_s=fleet.clock.now + 14.0)
    await fleet.tick()
    assert cold(fleet) == ("True", "WokenUp")
    await fleet.tick()
    assert cold(fleet) == ("False", "Awake")


async def test_requests_do_not_wait_for_what_cannot_start(fleet: Fleet):
    await woken(fleet)
    stalled = {"type": "Stalled", "status": "True", "reason": "ImagePullBackOff", "message": "no image"}
    fleet.store.objects[SMALL]["status"]["conditions"].append(
        {**stalled, "lastTransitionTime": rfc3339(fleet.clock.now)}
    )
    await fleet.tick()

    assert cold(fleet) == ("False", "CannotStart")


async def test_whoever_was_woken_in_vain_sleeps_again_after_the_same_time(fleet: Fleet):
    await woken(fleet)
    fleet.pod("small-0", names.LABEL_TIER, names.tier_child("small"), since_s=fleet.clock.now)
    fleet.routers.said = {"10.0.0.1": quiet()}
    await fleet.tick(after_s=1000.0)
    assert fleet.status(SMALL)["desiredReplicas"] == 1

    await fleet.tick(after_s=801.0)
    assert fleet.status(SMALL)["desiredReplicas"] == 0


async def test_a_tier_that_may_not_sleep_any_more_says_nothing_of_it(fleet: Fleet):
    await asleep(fleet)
    spec = {**fleet.store.objects[SMALL]["spec"]}
    spec["scaling"] = {**spec["scaling"], "minReplicas": 1, "idle": None}
    fleet.store.put({**fleet.store.objects[SMALL], "spec": spec})
    await fleet.tick()

    assert fleet.status(SMALL)["desiredReplicas"] == 1
    assert [each["type"] for each in fleet.store.writes[-1][1]["conditions"]] == ["ScalingActive"]
