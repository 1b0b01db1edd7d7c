"""The whole operator as a process against a real API server.  Nothing runs pods here; the garbage collector is real."""

import functools
import json
import signal
from collections.abc import Callable

import pytest

from modelfleet.api.route_table_reader import decode
from tests.cli.operator_process import Cluster, Operator, cascade, probed, router_pod, tier, until

pytestmark = pytest.mark.controlplane


def converged(cluster: Cluster) -> bool:
    """Whether both objects have been visited: every condition is set."""
    wanted = {"Ready", "ResolvedRefs", "WorkloadAvailable"}
    tiers = wanted <= set(cluster.conditions("modeltier", "small"))
    return tiers and {"Ready", "Accepted", "Programmed"} <= set(cluster.conditions("cascade", "chat"))


def quiet(cluster: Cluster) -> None:
    """Wait until the controllers of the cluster itself have nothing more to do either."""
    versions = [cluster.versions(), {}]

    def same() -> bool:
        versions.append(cluster.versions())
        return versions[-1] == versions[-2] == versions[-3]

    until(same)


SMALL_AND_CHAT = [
    "ConfigMap/modelfleet-router-table",
    "Deployment/modelfleet-router",
    "Deployment/small-tier",
    "PodDisruptionBudget/modelfleet-router",
    "RoleBinding/modelfleet-router",
    "Service/modelfleet-router",
    "Service/small-tier",
    "ServiceAccount/modelfleet-router",
    "ServiceAccount/small-tier",
]


def test_children_appear_then_nothing_is_written_then_drift_is_healed(
    cluster: Cluster, start: Callable[..., Operator]
):
    operator = start(RESYNC_S="1")
    cluster.apply(tier(), cascade())
    until(lambda: sorted(cluster.children()) == SMALL_AND_CHAT and converged(cluster))

    # At rest: several resyncs look at everything, and nothing is written.
    quiet(cluster)
    before, seen = len(cluster.writes()), operator.reconciles()
    until(lambda: operator.reconciles() > seen + 12)
    assert cluster.writes()[before:] == []

    # Edits and deletions by others are healed.
    cluster.kubectl("delete", "service", "small-tier")
    cluster.kubectl("scale", "deployment", "small-tier", "--replicas=7")
    cluster.kubectl("label", "deployment", "modelfleet-router", "app.kubernetes.io/managed-by-")
    until(lambda: sorted(cluster.children()) == SMALL_AND_CHAT, limit_s=10)
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 1, limit_s=10)


def test_the_second_operator_takes_over(cluster: Cluster, start: Callable[..., Operator]):
    first = start()
    until(first.leads)
    second = start()
    assert not second.leads()

    assert first.stop() == 0
    until(second.leads, limit_s=12)  # Less than the lease lasts: it was released.

    third = start()
    second.stop(signal.SIGKILL)
    until(third.leads, limit_s=30)
    cluster.apply(tier())
    until(lambda: "Deployment/small-tier" in cluster.children())


def test_deleting_with_the_operator_down_leaves_nothing(cluster: Cluster, start: Callable[..., Operator]):
    operator = start()
    cluster.apply(tier(), cascade(), cascade("code"))
    until(lambda: sorted(cluster.children()) == SMALL_AND_CHAT and converged(cluster))
    until(lambda: len(cluster.get("deployment", "modelfleet-router")["metadata"]["ownerReferences"]) == 2)
    operator.stop()

    cluster.kubectl("delete", "modeltier/small", "cascade/chat")
    until(lambda: "Deployment/small-tier" not in cluster.children())
    assert "Deployment/modelfleet-router" in cluster.children(), "the other Cascade still needs it"

    cluster.kubectl("delete", "cascade/code")
    until(lambda: cluster.children() == [])


def test_an_operator_killed_half_way_is_continued(cluster: Cluster, start: Callable[..., Operator]):
    operator = start(LEADER_ELECTION="false")
    cluster.apply(*(tier(f"t-{number}") for number in range(20)))
    until(cluster.children)
    operator.stop(signal.SIGKILL)

    start(LEADER_ELECTION="false")
    until(lambda: len([child for child in cluster.children() if child.startswith("Deployment/")]) == 20)
    until(lambda: all("Ready" in cluster.conditions("modeltier", f"t-{number}") for number in range(20)))


def test_paused_and_suspended(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.apply(tier(replicas=2))
    until(lambda: cluster.get("deployment", "small-tier").get("spec", {}).get("replicas") == 2)

    cluster.kubectl("annotate", "modeltier", "small", "modelfleet.dev/paused=true")
    until(lambda: "Paused" in cluster.conditions("modeltier", "small"))
    cluster.apply(
        {**tier(replicas=3), "metadata": {"name": "small", "annotations": {"modelfleet.dev/paused": "true"}}}
    )
    until(lambda: cluster.get("modeltier", "small")["status"].get("observedGeneration") == 2)
    assert cluster.get("deployment", "small-tier")["spec"]["replicas"] == 2

    cluster.kubectl("annotate", "modeltier", "small", "modelfleet.dev/paused-")
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 3)
    assert "PodDisruptionBudget/small-tier" in cluster.children()

    cluster.kubectl("patch", "modeltier", "small", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 0)
    until(lambda: cluster.conditions("modeltier", "small")["Ready"] == "False/Suspended")
    until(lambda: "PodDisruptionBudget/small-tier" not in cluster.children())


def test_settings_are_read_again_without_a_restart(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.apply(tier(nodePool={"name": "gpu"}))
    until(lambda: cluster.conditions("modeltier", "small").get("ResolvedRefs") == "False/NodePoolNotFound")

    cluster.configure("nodePools: {gpu: {nodeSelector: {kind: gpu}}}")
    until(lambda: "Deployment/small-tier" in cluster.children())
    pod = cluster.get("deployment", "small-tier")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kind": "gpu"}
    until(lambda: cluster.conditions("modeltier", "small").get("ResolvedRefs") == "True/Resolved")


def test_any_valid_name_works(cluster: Cluster, start: Callable[..., Operator]):
    start()
    names = ["7b", "llama-3.1-8b", "x" * 253, f"{'y' * 63}.{'z' * 63}"]
    cluster.apply(*map(tier, names))

    until(lambda: len([child for child in cluster.children() if child.startswith("Service/")]) == len(names))
    until(lambda: all("Ready" in cluster.conditions("modeltier", name) for name in names))


def test_a_namespace_that_goes_away_is_not_fought(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.apply(tier(), cascade())
    until(functools.partial(converged, cluster))

    cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")
    gone = ("get", "namespace", cluster.namespace, "--ignore-not-found")
    until(lambda: not cluster.kubectl(*gone), limit_s=90)
    cluster.kubectl("create", "namespace", cluster.namespace)


def routers(cluster: Cluster) -> int:
    """Among how many routers the stored table divides what holds for the whole; 0 where there is no table."""
    data = cluster.get("configmap", "modelfleet-router-table").get("data")
    return decode(json.loads(data["table.json"])).rules.routers if data else 0


def counted(cluster: Cluster, want: int) -> bool:
    return routers(cluster) == want


def test_the_route_table_follows_the_routers_that_are_ready(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.apply(tier(), cascade())
    until(lambda: "Deployment/modelfleet-router" in cluster.children())
    assert routers(cluster) == 2, "none is ready: as many as are wanted"
    for name in ("r-1", "r-2", "r-3"):
        router_pod(cluster, name)
    written = len(table_writes(cluster))

    for name, ready, want in (("r-1", True, 1), ("r-2", True, 2), ("r-3", True, 3), ("r-2", False, 2)):
        probed(cluster, name, ready=ready)
        until(functools.partial(counted, cluster, want))
    cluster.kubectl("delete", "pod", "r-3", "--grace-period=0", "--force")
    until(lambda: routers(cluster) == 1)

    # Once for each number: 1 (2 was there), 2, 3, 2, 1.
    assert len(table_writes(cluster)) - written == 5


def table_writes(cluster: Cluster) -> list[str]:
    return [write for write in cluster.writes() if "/configmaps/modelfleet-router-table" in write]
