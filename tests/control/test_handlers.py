from typing import Any

import kopf
import pytest

from modelfleet import names
from modelfleet.api.key import Key
from modelfleet.control import handlers
from modelfleet.control.router import ROUTER
from modelfleet.control.view import MemoryView
from tests.make import NAMESPACE, cascade_object, deployment_object, pod_object, tier_object

TIER = Key("ModelTier", NAMESPACE, "small")
ROUTERS = {Key(ROUTER, NAMESPACE, names.SHARED_ROUTER), Key(ROUTER, NAMESPACE, "chat-cascade-router")}


def labelled(item: Any, **labels: str) -> Any:
    return {**item, "metadata": {**item["metadata"], "labels": labels}}


ROUTER_CHILD = labelled(deployment_object())
ROUTER_CHILD["metadata"]["labels"] = {names.LABEL_ROUTER: "r"}
ORPHAN = labelled(deployment_object())
ORPHAN["metadata"]["labels"] = {names.LABEL_TIER: "gone-tier"}
UNUSED = tier_object("unused")

CASES = {
    "a tier that a cascade names": (tier_object(), {TIER} | ROUTERS),
    "a tier that nobody names": (UNUSED, {Key("ModelTier", NAMESPACE, "unused")}),
    "a cascade: both its routers": (cascade_object(), ROUTERS),
    "a pod of a tier": (pod_object(), {TIER}),
    "a child of a router": (ROUTER_CHILD, {Key(ROUTER, NAMESPACE, "r")}),
    "a child of a tier that is gone": (ORPHAN, set()),
    "something without our labels": (deployment_object(), set()),
}


@pytest.fixture
def view() -> MemoryView:
    made = MemoryView()
    for item in (tier_object(), cascade_object()):
        made.watched(item)
    return made


@pytest.mark.parametrize(("item", "want"), CASES.values(), ids=CASES)
def test_concerned(view: MemoryView, item: Any, want: set[Key]):
    assert set(handlers.concerned(view, item)) == want


def test_our_own_write_concerns_those_who_read_it(view: MemoryView):
    assert set(handlers.dependents(view, tier_object())) == ROUTERS
    assert set(handlers.dependents(view, deployment_object())) == set()


def test_everything(view: MemoryView):
    leftover = labelled(deployment_object(), **{names.LABEL_COMPONENT: "router"})
    leftover["metadata"]["name"] = "leftover"
    view.watched(leftover)

    assert set(handlers.everything(view)) == {TIER, Key(ROUTER, NAMESPACE, "leftover")} | ROUTERS


async def test_an_event_changes_the_view_and_names_keys():
    view, keys, news = MemoryView(), [], []
    registry = kopf.OperatorRegistry()
    handlers.register(registry, view, keys.append, news.append)
    [handler, *_] = registry._watching.get_all_handlers()

    await handler.fn(event={"type": "ADDED", "object": tier_object()})
    await handler.fn(event={"type": "MODIFIED", "object": tier_object()})
    assert keys == [TIER]
    assert len(news) == 1

    gone = tier_object()
    gone["metadata"]["resourceVersion"] = "101"
    await handler.fn(event={"type": "DELETED", "object": gone})
    assert keys == [TIER, TIER]
    assert view.get(TIER) is None


def test_only_handlers_that_write_nothing_are_used():
    registry = kopf.OperatorRegistry()
    handlers.register(registry, MemoryView(), lambda _: None, lambda _: None)

    assert registry._watching.get_all_handlers()
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()


def test_children_are_filtered_by_the_server():
    settings = kopf.OperatorSettings()

    handlers.watch_settings(settings)

    assert len(settings.watching.label_selectors) == len(handlers.CHILDREN)
    assert not settings.posting.enabled
    assert settings.scanning.disabled
