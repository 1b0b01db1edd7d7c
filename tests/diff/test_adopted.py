"""Somebody else's workload as it was found: where requests go, and whether we may scale it."""

from dataclasses import replace
from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.model_tier import ModelTier
from modelfleet.diff.adopted import Found, judge
from tests.diff.adopted_found import CALM, SCALING, SERVICE, TIER, hpa
from tests.make import existing_tier, merged

SCALED = existing_tier(scaling=SCALING)


def at_port(port: Any) -> ModelTier:
    return existing_tier(existing={"serviceRef": {"port": port}})


def service(**changes: Any) -> Found:
    return replace(CALM, service=merged(SERVICE, changes))


ONE_PORT = service(spec={"ports": [{"port": 80}]})
PORTS: dict[str, tuple[ModelTier, Found, tuple[int, str]]] = {
    "by number": (TIER, CALM, (8000, "http")),
    "by name": (at_port("metrics"), CALM, (9400, "metrics")),
    "a number in quotes": (at_port("8000"), CALM, (8000, "http")),
    "a name that looks like a number goes first": (
        at_port("80"),
        service(spec={"ports": [{"port": 80, "name": "x"}, {"port": 81, "name": "80"}]}),
        (81, "80"),
    ),
    "the only one, without a name": (at_port(None), ONE_PORT, (80, "")),
    "the only one for TCP": (
        at_port(None),
        service(spec={"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b", "protocol": "UDP"}]}),
        (80, "a"),
    ),
}


@pytest.mark.parametrize(("tier", "found", "want"), PORTS.values(), ids=PORTS)
def test_where_requests_go(tier: ModelTier, found: Found, want: tuple[int, str]):
    judged = judge(tier, found)

    assert (judged.port, judged.port_name) == want
    assert judged.stuck is None


BROKEN: dict[str, tuple[ModelTier, Found, tuple[str, str]]] = {
    "no Service": (
        TIER,
        replace(CALM, service=None),
        ("ServiceNotFound", "create it, or name another in existing.serviceRef"),
    ),
    "no such port": (
        at_port(8080),
        CALM,
        ("ServicePortNotFound", "has no port 8080: write one of these in existing.serviceRef.port: 8000 (http), 9400 (metrics)"),
    ),
    "several ports and none named": (at_port(None), CALM, ("ServicePortNotFound", "has several ports: write one")),
    "no ports at all": (TIER, service(spec={"ports": None}), ("ServicePortNotFound", "no port 8000")),
    "a name for something outside": (
        TIER,
        service(spec={"type": "ExternalName"}),
        ("ServiceHasNoEndpoints", "use external.baseURL"),
    ),
    "the operator's own Service": (
        TIER,
        service(metadata={"labels": {"app.kubernetes.io/managed-by": "modelfleet"}}),
        ("ServiceIsOurs", "name one of yours"),
    ),
    "no target": (TIER, replace(CALM, scale=None, no_scale="NotFound"), ("TargetNotFound", "no Deployment qwen")),
    "no such kind": (
        TIER,
        replace(CALM, scale=None, no_scale="KindNotFound"),
        ("TargetKindNotFound", "no kind Deployment in apps/v1"),
    ),
    "nothing to scale": (
        TIER,
        replace(CALM, scale=None, no_scale="NoSubresource"),
        ("TargetNotScalable", "no scale subresource"),
    ),
    "no number to begin with": (
        TIER,
        replace(CALM, scale=None, no_scale="NoNumber"),
        ("TargetHasNoReplicas", "write one at the workload"),
    ),
    "no right to look": (
        TIER,
        replace(CALM, scale=None, forbidden=("get models.kubeai.org/scale",)),
        ("Forbidden", 'may not get models.kubeai.org/scale: grant it in a ClusterRole with the label modelfleet.dev/aggregate-to-operator: "true"'),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tier", "found", "want"), BROKEN.values(), ids=BROKEN)
def test_what_its_user_has_to_mend(tier: ModelTier, found: Found, want: tuple[str, str]):
    judged = judge(tier, found)

    assert judged.stuck is not None
    assert (judged.stuck.reason, judged.stuck.stuck) == (want[0], True)
    assert want[1] in judged.stuck.message


def test_our_own_deployment_is_not_scaled_twice():
    judged = judge(SCALED, CALM, ours=True)

    assert judged.unscalable is not None
    assert judged.unscalable.reason == "TargetIsOurs"


def rival(name: str, **changes: Any) -> ModelTier:
    return existing_tier(name, **{"scaling": SCALING, **changes})


RIVALS: dict[str, tuple[Found, list[ModelTier], str | None]] = {
    "nobody": (CALM, [], None),
    "an HPA": (replace(CALM, autoscalers=[hpa()]), [], "ScaledByHPA"),
    "an HPA of the group's next version": (
        replace(CALM, autoscalers=[hpa(apiVersion="apps/v2")]),
        [],
        "ScaledByHPA",
    ),
    "an HPA of something else": (replace(CALM, autoscalers=[hpa(name="llama")]), [], None),
    "an HPA of another kind": (replace(CALM, autoscalers=[hpa(kind="StatefulSet")]), [], None),
    "an older tier": (CALM, [rival("a-first")], "ScaledByModelTier"),
    "a younger tier": (CALM, [rival("z-last")], None),
    "an older tier that scales nothing": (CALM, [rival("a-first", scaling=None)], None),
    "an older tier of another workload": (
        CALM,
        [rival("a-first", existing={"scaleTargetRef": {"name": "llama"}})],
        None,
    ),
}


@pytest.mark.parametrize(("found", "others", "want"), RIVALS.values(), ids=RIVALS)
def test_who_else_scales_it(found: Found, others: list[ModelTier], want: str | None):
    judged = judge(SCALED, found, others=others)

    assert (judged.unscalable and judged.unscalable.reason) == want
    assert judged.stuck is None


def test_a_number_that_somebody_sets_back_is_left_to_them():
    judged = judge(SCALED, CALM, contested=True)

    assert judged.unscalable is not None
    assert judged.unscalable.reason == "SetBack"


def test_mode_observe_reports_beside_an_hpa_and_does_not_write():
    observing = existing_tier(scaling={**SCALING, "mode": "Observe"})

    judged = judge(observing, replace(CALM, autoscalers=[hpa()]))

    assert judged.unscalable is None
    assert judged.rival is not None


def test_pods_that_ended_are_none():
    pods = [
        {"metadata": {"name": each}, "status": {"phase": each}} for each in ("Running", "Failed", "Succeeded")
    ]

    assert [pod["metadata"]["name"] for pod in judge(TIER, replace(CALM, pods=pods)).pods] == ["Running"]


NAMED = {
    "spec": {
        "containers": [{"name": "proxy"}, {"name": "x", "ports": [{"name": "api", "containerPort": 8080}]}]
    }
}
ENGINE_PORTS: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "as the Service numbers it": ({"port": 8000}, {}, "8000"),
    "as the pods number it": ({"port": 80, "targetPort": 8001}, {}, "8001"),
    "as the pods name it": ({"port": 80, "targetPort": "api"}, NAMED, "8080"),
    "as nobody names it": ({"port": 80, "targetPort": "other"}, NAMED, None),
}


@pytest.mark.parametrize(("port", "spec", "want"), ENGINE_PORTS.values(), ids=ENGINE_PORTS)
def test_where_the_engine_of_a_pod_listens(port: dict[str, Any], spec: dict[str, Any], want: str | None):
    pod = {"metadata": {"name": "qwen-1", "annotations": {"theirs": "yes"}}, **spec}

    judged = judge(at_port(None), replace(service(spec={"ports": [port]}), pods=[pod]))

    assert judged.pods[0]["metadata"]["annotations"].get(names.ANNOTATION_ENGINE_PORT) == want
    assert judged.pods[0]["metadata"]["annotations"]["theirs"] == "yes"
    assert pod["metadata"]["annotations"] == {"theirs": "yes"}
