from modelfleet import names
from modelfleet.api.meta import Manifest
from modelfleet.control.capacity.targets import targets
from modelfleet.control.view import MemoryView
from modelfleet.plan.snapshot import Name
from modelfleet.plan.targets import Pod, Targets


def pod(
    name: str, label: str, value: str, *, ready: str = "True", address: str | None = "10.0.0.1"
) -> Manifest:
    meta = {"namespace": "team", "name": name, "resourceVersion": "1", "labels": {label: value}}
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]}
    return {"kind": "Pod", "metadata": meta, "status": status}


def leaving(item: Manifest) -> Manifest:
    return {**item, "metadata": {**item["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def test_ready_pods_of_routers_and_of_known_tiers():
    view, engine = MemoryView(), names.tier_child("7b")
    view.watched(
        {"kind": "ModelTier", "metadata": {"namespace": "team", "name": "7b", "resourceVersion": "1"}}
    )
    for item in (
        pod("router-0", names.LABEL_ROUTER, names.router()),
        pod("router-1", names.LABEL_ROUTER, names.router(), ready="False"),
        pod("7b-0", names.LABEL_TIER, engine, address="10.0.0.2"),
        pod("7b-1", names.LABEL_TIER, engine, address=None),
        leaving(pod("7b-2", names.LABEL_TIER, engine)),
        pod("orphan-0", names.LABEL_TIER, "gone-tier"),
        pod("other-0", "app", "web"),
    ):
        view.watched(item)

    assert targets(view) == Targets(
        routers=(Pod("team", "router-0", "10.0.0.1", 9090),),
        engines=(Pod("team", "7b-0", "10.0.0.2", 8000, Name("team", "7b")),),
    )


def test_an_engine_of_somebody_else_s_is_read_where_it_listens():
    view = MemoryView()
    view.watched(
        {"kind": "ModelTier", "metadata": {"namespace": "team", "name": "7b", "resourceVersion": "1"}}
    )
    theirs = pod("theirs-0", "app", "qwen", address="10.0.0.2")
    theirs["metadata"]["annotations"] = {names.ANNOTATION_ENGINE_PORT: "8080"}

    view.adopt("team", names.tier_child("7b"), [theirs])

    assert targets(view).engines == (Pod("team", "theirs-0", "10.0.0.2", 8080, Name("team", "7b")),)
