"""Requests survive what happens to tiers and routers."""

from e2e.demo.traffic import Traffic
from e2e.scenarios.world import World
from modelfleet import names

# Streams that are under way for seconds: a pod that goes must let them end.
LOAD = {"concurrency": 2, "streams": 75, "max_tokens": 72}
PATIENT = {"drainTimeout": "90s"}  # a busy machine takes long for such a stream
ROLLOUT_LIMIT_S = 180.0
LONG_STREAM = 300  # tokens, so that it outlives a call to the API server


def test_two_cascades_on_one_router(world: World) -> None:
    world.tier("small")
    world.cascade("chat", "small")
    world.cascade("code", "small")
    world.wait_ready("cascade", "chat")
    world.wait_ready("cascade", "code")

    assert world.ask("chat").status == world.ask("code").status == 200
    unknown = world.ask("poetry")
    assert unknown.status == 404
    assert unknown.fields["error"]["code"] == "model_not_found"
    assert len(world.objects("deployments", f"{names.LABEL_COMPONENT}=router")) == 1

    world.cascade("late", "small", modelName="chat")
    world.wait_condition("cascade", "late", "Accepted", "False", "ModelNameConflict", says="chat")
    assert world.ask("chat").status == 200


def test_missing_tier_leaves_the_others(world: World) -> None:
    world.tier("small")
    world.cascade("chat", "small", "medium")

    world.wait_condition("cascade", "chat", "ResolvedRefs", "False", "ModelTierNotFound", says="medium")
    world.wait("the small tier answers", lambda: world.ask("chat").tier == "small")


def test_rolling_update_of_a_tier(world: World) -> None:
    world.tier("small", rollout=PATIENT)
    world.cascade("chat", "small")
    world.wait_ready("cascade", "chat")
    selector = f"{names.LABEL_TIER}={names.tier_child('small')}"
    before = _uids(world, selector)

    with world.load("chat", **LOAD):
        changed = {"contextLength": 4096, "slots": 2, "threads": 1}
        world.tier("small", rollout=PATIENT, llamaCpp=changed)
        world.wait(
            "only new pods are left",
            lambda: bool(after := _uids(world, selector)) and not after & before,
            limit_s=ROLLOUT_LIMIT_S,
        )


def test_rolling_update_of_the_router(world: World) -> None:
    """Every answer is judged, and none is let through at the first tier: requests are in all states of their life."""
    world.tier("small")
    world.tier("other")
    world.cascade("chat", "small", "other", accept="0")
    world.wait_ready("cascade", "chat")
    world.wait_ready("modeltier", "other")
    selector = f"{names.LABEL_COMPONENT}=router"
    before = _uids(world, selector)

    with world.load("chat", **LOAD):
        # It annotates the pod template, and the operator leaves alone what others add.
        world.kubectl("rollout", "restart", f"deployment/{names.SHARED_ROUTER}")
        world.wait(
            "only new routers are left",
            lambda: bool(after := _uids(world, selector)) and not after & before,
            limit_s=ROLLOUT_LIMIT_S,
        )


def test_stream_survives_the_drain_of_its_pod(world: World) -> None:
    world.tier("small", rollout=PATIENT)
    world.cascade("chat", "small")
    world.wait_ready("cascade", "chat")

    with world.load("chat", concurrency=1, streams=100, max_tokens=LONG_STREAM) as traffic:
        # Nothing else can answer until the next pod is ready, so only what runs may run.
        world.wait("a last stream runs", lambda: _last_stream_runs(traffic))
        pod = world.pods("small")[0]["metadata"]["name"]
        world.kubectl("delete", "pod", pod, "--wait=false")
        world.wait("the stream has ended", lambda: traffic.count("underWay") == 0)


def _last_stream_runs(traffic: Traffic) -> bool:
    """Whether one stream is under way after which none is sent; begins another where it has ended."""
    asked = traffic.report["settings"]["concurrency"]
    if not asked and not traffic.count("underWay"):
        traffic.set(concurrency=1)
    elif asked and traffic.report["open"].get("small", 0) == 1:
        traffic.set(concurrency=0)
    return not asked and traffic.count("underWay") == 1


def _uids(world: World, selector: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in world.objects("pods", selector)}
