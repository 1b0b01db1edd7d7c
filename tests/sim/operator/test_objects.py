"""A cluster in memory, as the capacity loop knows clusters."""

from modelfleet import names
from modelfleet.api.key import Key
from modelfleet.control.capacity.look import starting
from modelfleet.control.capacity.observe import Pods
from modelfleet.plan.snapshot import Name
from modelfleet.sim.operator.objects import NAMESPACE, Objects
from modelfleet.sim.policy import PodSeen

TIER = {
    "kind": "ModelTier",
    "metadata": {"name": "small", "namespace": "elsewhere", "uid": "1", "annotations": {"a": "b"}},
    "spec": {"model": {"uri": "hf://o/m"}, "vllm": {}, "scaling": {"maxReplicas": 3}},
    "status": {"desiredReplicas": 2},
}
START_S = 1_000_000.0


def test_what_was_decided_elsewhere_is_forgotten():
    objects = Objects([TIER])
    tier = objects.tier("small")

    assert tier.status.desired_replicas is None
    assert tier.metadata.annotations == {"a": "b"}
    assert TIER["status"] == {"desiredReplicas": 2}


def test_a_status_is_seen_at_once():
    objects = Objects([TIER])
    before = objects.tier("small").metadata.resource_version
    objects.applied_status(Key("ModelTier", NAMESPACE, "small"), {"desiredReplicas": 3})

    assert objects.tier("small").status.desired_replicas == 3
    assert objects.tier("small").metadata.resource_version != before


def test_pods_tell_how_long_they_have_been_starting_and_how_long_that_took():
    objects, name = Objects([TIER]), Name(NAMESPACE, "small")
    objects.runs("small", 2, [PodSeen(0, 0.0, None), PodSeen(1, 30.0, None)], start_s=START_S)
    objects.runs("small", 2, [PodSeen(0, 0.0, 100.0), PodSeen(1, 30.0, None)], start_s=START_S)
    found = starting(objects, {name: objects.tier("small")}, now_s=START_S + 130.0)

    assert [start.total_s for start in found.started[name]] == [100.0]
    assert list(found.starting_s[name]) == [100.0]
    assert list(Pods(objects).of_tier(name)) == [START_S + 100.0]


def test_pods_that_are_gone_are_gone():
    objects = Objects([TIER])
    objects.runs("small", 1, [PodSeen(0, 0.0, 0.0)], start_s=START_S)
    objects.runs("small", 0, [], start_s=START_S)

    assert [pod["metadata"]["labels"] for pod in objects.list("Pod")] == [
        {names.LABEL_ROUTER: names.router()}
    ]
