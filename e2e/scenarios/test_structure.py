"""The operator keeps objects as they should be, whoever else touches them and whoever of its pods dies."""

import json
from collections.abc import Callable

from e2e.demo import install
from e2e.demo.fleet import condition
from e2e.demo.kube import Kube
from e2e.scenarios.world import World, leader, operators, seconds_until
from modelfleet import names

HEAL_LIMIT_S = 5.0
TAKEOVER_KILLED_LIMIT_S = 20.0
TAKEOVER_STOPPED_LIMIT_S = 3.0
SUSPENDED = {"suspend": True}


def test_drift_is_healed(world: World) -> None:
    world.tier("small", **SUSPENDED)
    child = names.tier_child("small")
    world.wait_exists("service", child)
    world.wait_exists("deployment", child)

    world.kubectl("delete", "service", child)
    seconds_until(lambda: world.exists("service", child), what="the Service is back", limit_s=HEAL_LIMIT_S)

    world.kubectl("delete", "deployment", child)
    seconds_until(
        lambda: world.exists("deployment", child), what="the Deployment is back", limit_s=HEAL_LIMIT_S
    )

    world.kubectl("scale", "deployment", child, "--replicas=3")
    seconds_until(
        lambda: world.get("deployment", child)["spec"]["replicas"] == 0,
        what="nothing runs again",
        limit_s=HEAL_LIMIT_S,
    )


def test_foreign_object_is_left_alone(world: World) -> None:
    child = names.tier_child("small")
    world.kubectl("create", "service", "clusterip", child, "--tcp=1")

    world.tier("small", **SUSPENDED)

    world.wait_condition("modeltier", "small", "Ready", "False", "NameConflict", says=child)
    assert world.get("service", child)["spec"]["ports"][0]["port"] == 1


def test_frozen_leader_is_replaced_and_leaves(
    world: World, kube: Kube, signal_pod: Callable[[str, str], None]
) -> None:
    frozen = _leading(world, kube)
    uid = kube.get("pod", frozen, namespace=install.SYSTEM)["metadata"]["uid"]

    signal_pod(uid, "STOP")
    try:
        what = "another operator leads"
        seconds_until(lambda: leader(kube) not in ("", frozen), what=what, limit_s=TAKEOVER_KILLED_LIMIT_S)
    finally:
        signal_pod(uid, "CONT")

    world.wait("the old leader has left its process", lambda: _restarts(kube, frozen) > 0)
    assert leader(kube) != frozen
    _still_works(world)


def test_killed_leader_is_replaced(world: World, kube: Kube) -> None:
    killed = _leading(world, kube)

    kube.kubectl("delete", "pod", "-n", install.SYSTEM, killed, "--grace-period=0", "--force")

    what = "another operator leads"
    seconds_until(lambda: leader(kube) not in ("", killed), what=what, limit_s=TAKEOVER_KILLED_LIMIT_S)
    _still_works(world)


def test_stopped_leader_hands_over(world: World, kube: Kube) -> None:
    stopped = _leading(world, kube)

    kube.kubectl("delete", "pod", "-n", install.SYSTEM, stopped, "--wait=false")
    world.wait("the leader gave its Lease up", lambda: leader(kube) != stopped)

    what = "another operator leads"
    seconds_until(lambda: leader(kube) not in ("", stopped), what=what, limit_s=TAKEOVER_STOPPED_LIMIT_S)
    _still_works(world)


def test_operators_killed_in_the_middle(world: World, kube: Kube) -> None:
    _leading(world, kube)
    wanted = [f"tier-{number:02d}" for number in range(20)]
    for name in wanted:
        world.tier(name, **SUSPENDED)

    kube.kubectl("delete", "pods", "-n", install.SYSTEM, *operators(kube), "--grace-period=0", "--force")

    for name in wanted:
        child = names.tier_child(name)
        for kind in ("deployment", "service", "serviceaccount"):
            world.wait_exists(kind, child)
        world.wait_condition("modeltier", name, "Ready", "False", "Suspended")


def test_delete_while_the_operator_is_down(world: World, kube: Kube) -> None:
    world.tier("small", **SUSPENDED)
    world.cascade("chat", "small")
    world.wait_exists("deployment", names.SHARED_ROUTER)
    world.wait_exists("deployment", names.tier_child("small"))
    replicas = len(operators(kube))
    kube.kubectl("scale", "deployment", install.RELEASE, "-n", install.SYSTEM, "--replicas=0")
    try:
        world.wait("no operator runs", lambda: not operators(kube))

        world.kubectl("delete", "cascade/chat", "modeltier/small", "--timeout=10s")

        selector = f"{names.LABEL_PART_OF}={names.MANAGER}"
        children = "deployments,services,serviceaccounts,configmaps,poddisruptionbudgets,rolebindings"
        world.wait("every child is gone", lambda: not world.objects(children, selector))
    finally:
        kube.kubectl("scale", "deployment", install.RELEASE, "-n", install.SYSTEM, f"--replicas={replicas}")
        install.wait_for_deployments(kube, (install.SYSTEM, install.RELEASE), limit_s=60)


def test_paused_is_left_alone(world: World) -> None:
    world.tier("small", **SUSPENDED)
    child = names.tier_child("small")
    world.wait_exists("deployment", child)
    world.kubectl("annotate", "modeltier", "small", f"{names.ANNOTATION_PAUSED}=true")
    world.wait(
        "the pause is said",
        lambda: "Paused" in json.dumps(world.get("modeltier", "small")["status"]["conditions"]),
    )

    world.kubectl("scale", "deployment", child, "--replicas=0")
    world.kubectl("label", "service", child, f"{names.LABEL_COMPONENT}=mine", "--overwrite")
    world.tier("other", **SUSPENDED)
    world.wait_exists("deployment", names.tier_child("other"))
    assert world.get("service", child)["metadata"]["labels"][names.LABEL_COMPONENT] == "mine"

    world.kubectl("annotate", "modeltier", "small", f"{names.ANNOTATION_PAUSED}-")
    world.wait(
        "the label is ours again",
        lambda: world.get("service", child)["metadata"]["labels"][names.LABEL_COMPONENT] == "engine",
    )


def _restarts(kube: Kube, pod: str) -> int:
    (status,) = kube.get("pod", pod, namespace=install.SYSTEM)["status"]["containerStatuses"]
    return int(status["restartCount"])


def _leading(world: World, kube: Kube) -> str:
    """The leader's name, once two operators run."""
    install.wait_for_deployments(kube, (install.SYSTEM, install.RELEASE), limit_s=60)
    world.wait("an operator leads", lambda: leader(kube) in operators(kube))
    return leader(kube)


def _still_works(world: World) -> None:
    world.tier("after", **SUSPENDED)
    world.wait_exists("deployment", names.tier_child("after"))
    assert condition(world.get("modeltier", "after"), "Ready") != {}
