"""Replicas follow a real load: bursts, tiers that slept, an outage of Prometheus, pods that take long to start."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.cluster import choose
from e2e.demo import install
from e2e.demo.fleet import condition
from e2e.demo.kube import Manifest
from e2e.scenarios import engines
from e2e.scenarios.engines import START_S, load, ready, sampled, wanted
from e2e.scenarios.world import READY_LIMIT_S, World, seconds_until

INTERVAL_S = 5.0  # of decisions, and of scrapes
POD_S = 15.0  # what a busy machine needs for a pod beside the engine's own start
BUSY = (7.0, 900.0)  # requests per second, of which one replica carries 3.8; seconds
NEEDED = 2
SOON = {"scaleDown": {"stabilizationWindowSeconds": 15}}
OUTAGES_S = [20.0, pytest.param(300.0, marks=pytest.mark.slow)]
SLOW_START_S = 60.0
RISING = 3  # replicas for 4.5 requests per second that have just begun: they are taken for a load that rises
PROMETHEUS = ("monitoring", "prometheus")


@pytest.fixture(autouse=True)
def gpus(target: choose.Target) -> None:
    if target.built is None:
        pytest.skip("the nodes of this cluster have no GPUs that a stand-in could use")


@pytest.mark.parametrize("outage_s", OUTAGES_S, ids=lambda outage_s: f"{outage_s:.0f}s")
def test_a_burst_is_met_and_silence_is_no_calm(world: World, outage_s: float) -> None:
    """Within what a decision and a start take there is a second replica.  Then Prometheus dies and the load goes on."""
    _serve(world, behavior=SOON)
    with load(world, "chat", (1.0, 5.0), BUSY) as traffic:
        took_s = seconds_until(lambda: wanted(world, "big") > 1, what="it wants more", limit_s=40)
        more_s = seconds_until(
            lambda: ready(world, "big") > 1, what="it has more", limit_s=INTERVAL_S + START_S + POD_S
        )
        print(f"decided after {took_s:.1f} s, ready {more_s:.1f} s later")
        world.wait("as many as the load needs are there", lambda: ready(world, "big") >= NEEDED)
        with _no_prometheus(world), sampled(lambda: wanted(world, "big")) as (course,):
            before = traffic.count("finished")
            world.wait(
                "as much is answered as comes in an outage",
                lambda: traffic.count("finished") - before > outage_s * BUSY[0],
                limit_s=2 * outage_s + 60,
            )
    assert min(course.values) >= NEEDED, course.values


def test_a_burst_wakes_a_tier_that_sleeps(world: World) -> None:
    idle = {"after": "10s", "holdTimeout": "2m", "maxHeld": 200}
    _serve(world, minReplicas=0, idle=idle)
    world.wait(
        "the tier sleeps",
        lambda: condition(world.get("modeltier", "big"), "Cold").get("reason") == "Idle",
    )
    world.wait("no pod is left", lambda: not world.pods("big"))

    with load(world, "chat", BUSY) as traffic:
        world.wait("those that came first are answered", lambda: traffic.count("finished") > 30)
        world.wait("more are wanted", lambda: wanted(world, "big") > 1)

    assert world.metric("modelfleet_router_wake_calls_total", outcome="Accepted") >= 1


@pytest.mark.slow
def test_a_pod_that_starts_slowly_is_not_asked_for_twice(world: World) -> None:
    """All the while the queue grows; but what will work it off is on its way, though it takes six times as long as told."""
    _serve(world, start_s=SLOW_START_S)
    with load(world, "chat", (4.5, 900.0)), sampled(lambda: wanted(world, "big")) as (course,):
        world.wait("it wants more", lambda: wanted(world, "big") > 1)
        world.wait("they are there", lambda: ready(world, "big") > 1, limit_s=SLOW_START_S + READY_LIMIT_S)

    assert max(course.values) <= RISING, course.values


def test_an_objective_that_no_replica_keeps_is_said(world: World) -> None:
    """An idle one takes 70 ms from token to token; more of them would not help, so there are no more."""
    _serve(world, slo={"itlP95": "50ms"})
    with load(world, "chat", (2.0, 600.0)):
        world.wait_condition("cascade", "chat", "WithinSLO", "False", "Infeasible", says="itlP95 of 50ms")

        assert wanted(world, "big") == 1


def test_queries_without_a_number_are_said_and_others_decide(world: World) -> None:
    odd = {"many": "up", "none": "no_such_metric", "wrong": "sum("}
    queries = [{"name": name, "type": "PromQL", "query": query, "target": 1} for name, query in odd.items()]
    _serve(world, metrics=[*engines.busy(), *queries])
    for name, says in {"many": "several series", "none": "it gives nothing", "wrong": "parse error"}.items():
        reason = ("ScalingActive", "True", "MetricsPartlyStale")
        world.wait_condition("modeltier", "big", *reason, says=f"{name} (")
        assert says in condition(world.get("modeltier", "big"), "ScalingActive")["message"]

    with load(world, "chat", (14.0, 900.0), output=engines.OUTPUT // 2):
        world.wait("it wants more", lambda: wanted(world, "big") > 1)


def _serve(world: World, *, slo: Manifest | None = None, **scaling: Any) -> None:
    """One tier behind one Cascade, ready."""
    engines.tier(world, "big", **scaling)
    world.cascade("chat", "big", slo=slo or engines.SLO)
    world.wait_ready("cascade", "chat")


@contextmanager
def _no_prometheus(world: World) -> Iterator[None]:
    """Its process is killed, and does not come back before the block ends."""
    kube, (namespace, name) = world.kube, PROMETHEUS
    kube.kubectl("-n", namespace, "scale", f"deployment/{name}", "--replicas=0")
    try:
        kube.kubectl(
            "-n", namespace, "delete", "pods", f"--selector=app={name}", "--grace-period=0", "--force"
        )
        yield
    finally:
        kube.kubectl("-n", namespace, "scale", f"deployment/{name}", "--replicas=1")
    install.wait_for_deployments(kube, PROMETHEUS, limit_s=READY_LIMIT_S)
