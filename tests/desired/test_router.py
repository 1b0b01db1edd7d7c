from collections.abc import Callable, Sequence
from typing import Any

from modelfleet.desired import router as desired
from modelfleet.desired import table
from tests.make import NAMESPACE, SETTINGS, cascade, external_tier, tier

TIERS = {"small": tier(), "frontier": external_tier()}


def router(*cascades: Any) -> desired.Router:
    return desired.Router(
        name=desired.of_cascade(cascades[0]),
        namespace=NAMESPACE,
        cascades=cascades,
        external_tiers=(TIERS["frontier"],),
    )


def children(*cascades: Any) -> tuple[Any, ...]:
    owner = router(*cascades)
    return desired.children(owner, SETTINGS, table=table.config_map(owner, table.table(cascades, TIERS)))


def test_shared_router(golden: Callable[[str, Sequence[Any]], None]):
    golden("router", children(cascade("chat"), cascade("code", modelName="code", limits={"deadline": "5m"})))


def test_a_dedicated_router_has_the_cascades_own_size():
    alone = cascade(router={"dedicated": {"replicas": 1, "resources": {"requests": {"cpu": 1}}}})

    kinds = {child["kind"]: child for child in children(alone)}

    assert kinds["Deployment"]["metadata"]["name"] == "chat-cascade-router"
    assert kinds["Deployment"]["spec"]["replicas"] == 1
    container = kinds["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "1"}}
    assert "PodDisruptionBudget" not in kinds
    assert desired.endpoint(alone) == "http://chat-cascade-router.models.svc/v1"


def test_a_stopping_router_outlives_the_longest_request():
    pod = next(each for each in children(cascade(limits={"deadline": "2m"})) if each["kind"] == "Deployment")

    grace_s = pod["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    assert grace_s == desired.ACCEPT_MORE_S + 120 + desired.EXIT_S


def test_without_external_tiers_nothing_is_mounted():
    owner = desired.Router(desired.of_cascade(cascade()), NAMESPACE, (cascade(),), ())

    pods = desired.children(owner, SETTINGS, table=table.config_map(owner, table.table([cascade()], TIERS)))

    pod = next(each for each in pods if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert "volumes" not in pod
    assert "volumeMounts" not in pod["containers"][0]


def test_keys_are_mounted_where_clients_need_them():
    asked = SETTINGS.model_validate({"router": {"apiKeys": {"secretRef": {"name": "keys"}}}})
    owner = router(cascade())
    made = desired.children(owner, asked, table=table.config_map(owner, table.table([cascade()], TIERS)))

    pod = next(each for each in made if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    mount = {"name": "api-keys", "mountPath": "/etc/modelfleet/keys", "readOnly": True}
    assert {"name": "api-keys", "secret": {"secretName": "keys", "optional": True}} in pod["volumes"]
    assert mount in pod["containers"][0]["volumeMounts"]
    assert {"name": "MODELFLEET_API_KEYS", "value": "/etc/modelfleet/keys"} in pod["containers"][0]["env"]
