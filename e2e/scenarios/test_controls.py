"""What takes a decision out of the operator's hands: pins, mode Observe, a schedule."""

import pytest

from e2e.cluster import choose
from e2e.demo.fleet import weights
from e2e.scenarios import engines
from e2e.scenarios.engines import load, wanted
from e2e.scenarios.world import World
from modelfleet import names

BUSY = (7.0, 600.0)  # requests per second, of which one replica carries 3.8; seconds
ALWAYS = [{"cron": "* * * * *", "duration": "2m", "minReplicas": 2}]


@pytest.fixture(autouse=True)
def gpus(target: choose.Target) -> None:
    if target.built is None:
        pytest.skip("the nodes of this cluster have no GPUs that a stand-in could use")


def test_users_decide_where_they_say_so(world: World) -> None:
    """Under a load that asks for more: observed, it only says so; pinned, it has what is written; then it follows."""
    engines.tier(world, "big", mode="Observe")
    engines.tier(world, "other", replicas=1)
    world.cascade("chat", "big", "other", slo=engines.SLO)
    for name in ("big", "other"):
        world.wait_ready("modeltier", name)
    world.wait_ready("cascade", "chat")

    with load(world, "chat", BUSY):
        world.wait("it would have more", lambda: _would(world) > 1)
        world.wait_condition("modeltier", "big", "ScalingActive", "False", "Observing", says="would")
        assert wanted(world, "big") == 1

        _annotate(world, "cascade/chat", names.ANNOTATION_PIN_WEIGHTS, "other=100")
        world.wait(
            "all start elsewhere", lambda: weights(world.get("cascade", "chat")) == {"big": 0, "other": 1000}
        )
        _annotate(world, "modeltier/big", names.ANNOTATION_PIN_REPLICAS, "3")
        world.wait_condition("modeltier", "big", "ScalingActive", "False", "Pinned")
        world.wait("what is pinned runs", lambda: engines.ready(world, "big") == 3)


def test_a_schedule_runs(world: World) -> None:
    """It begins at every minute, and is there before anybody asks."""
    engines.tier(world, "big", schedules=ALWAYS)
    world.cascade("chat", "big", slo=engines.SLO)
    world.wait_condition("modeltier", "big", "Scheduled", "True", "ScheduleRuns")
    world.wait("they run", lambda: engines.ready(world, "big") == 2)
    assert engines.status(world, "big")["lastScale"]["reason"] == "Scheduled"

    engines.tier(world, "big", schedules=[{**ALWAYS[0], "cron": "0 0 30 2 *"}])
    world.wait_condition("modeltier", "big", "Scheduled", "False", "InvalidSchedule")


def _would(world: World) -> int:
    """Replicas that it would have."""
    return int(engines.status(world, "big").get("scaling", {}).get("wouldBe", 0))


def _annotate(world: World, object_: str, name: str, value: str) -> None:
    world.kubectl("annotate", object_, f"{name}={value}", "--overwrite")
