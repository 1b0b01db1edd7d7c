"""The watches: all that kopf does here.  An event changes the view and names keys; it never carries a decision.

Handlers return nothing and are `on.event` only, the one kind that writes nothing onto anybody's objects.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import kopf

from modelfleet import names
from modelfleet.api.meta import Manifest
from modelfleet.control.ports import Key
from modelfleet.control.router import ROUTER
from modelfleet.control.view import MemoryView, key_of

# (API group, version, plural) of what is watched; children only those that carry our label.
OWN = ((names.GROUP, names.VERSION, "modeltiers"), (names.GROUP, names.VERSION, "cascades"))
CHILDREN = (
    ("", "v1", "configmaps"),
    ("", "v1", "pods"),
    ("", "v1", "serviceaccounts"),
    ("", "v1", "services"),
    ("apps", "v1", "deployments"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"),
)
# kopf hears of a silent watch after this long; below 62 s bookmarks may come too late.
INACTIVITY_S = 70.0
SERVER_TIMEOUT_S = 300  # an integer: it goes into the query as it is
CONNECT_S = 10.0
REQUEST_S = 60.0
PAGE = 100  # a list of a whole fleet in one piece would be the most memory the operator ever needs


def register(
    registry: kopf.OperatorRegistry,
    view: MemoryView,
    add: Callable[[Key], None],
    changed: Callable[[Manifest], None],
) -> None:
    """Attach the watch streams.  `changed` is told every object that a watch brought news of."""

    # A coroutine: kopf runs plain functions in threads, and neither the view nor the queue is made for them.
    async def take(event: Any, **_: Any) -> None:
        item = dict(event["object"])
        if view.watched(item, deleted=event["type"] == "DELETED"):
            for key in concerned(view, item):
                add(key)
            changed(item)

    for group, version, plural in (*OWN, *CHILDREN):
        kopf.on.event(group, version, plural, id=f"watch-{plural}", registry=registry)(take)
    kopf.on.login(id="service-account", registry=registry)(kopf.login_with_service_account)
    kopf.on.login(id="kubeconfig", registry=registry)(kopf.login_with_kubeconfig)


def watch_settings(settings: kopf.OperatorSettings) -> None:
    """kopf, told to watch and to do nothing else."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.inactivity_timeout = INACTIVITY_S
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.connect_timeout = CONNECT_S
    settings.networking.connect_timeout = CONNECT_S
    settings.networking.request_timeout = REQUEST_S
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 0.5  # one task per object lives this long after its last event
    settings.persistence.finalizer = f"{names.GROUP}/unused"
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoProgress()
    for group, version, plural in CHILDREN:
        selector = f"{names.LABEL_MANAGED_BY}={names.MANAGER}"
        settings.watching.label_selectors[group, version, plural] = selector


class NoDiffs(kopf.DiffBaseStorage):
    """kopf copies every object on every event to find what changed; nobody here asks for that."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002
        """Nothing of the object."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """Nothing was stored."""

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):
    """Handlers of events have no progress to keep."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:
        """Nothing was stored."""

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Store nothing."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """There is nothing to remove."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: Any) -> None:
        """Never write onto an object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """There is nothing to remove."""
        return essence


def concerned(view: MemoryView, item: Manifest) -> Iterator[Key]:
    """The keys whose reconcile reads this object."""
    key = key_of(item)
    labels = item["metadata"].get("labels") or {}
    if key.kind == "ModelTier":
        yield key
        yield from dependents(view, item)
    elif key.kind == "Cascade":
        yield from _routers(item)
    elif child := labels.get(names.LABEL_TIER):
        if tier := view.tier_of(key.namespace, child):
            yield Key("ModelTier", key.namespace, tier)
    elif router := labels.get(names.LABEL_ROUTER):
        yield Key(ROUTER, key.namespace, router)


def dependents(view: MemoryView, item: Manifest) -> Iterator[Key]:
    """The keys that read this object without owning it: who has to be told of our own writes."""
    key = key_of(item)
    if key.kind != "ModelTier":
        return
    for cascade in view.list("Cascade", namespace=key.namespace):
        steps: Sequence[Manifest] = cascade["spec"].get("tiers", ())
        if any(step.get("tierRef", {}).get("name") == key.name for step in steps):
            yield from _routers(cascade)


def everything(view: MemoryView) -> Iterable[Key]:
    """Every key there is to reconcile."""
    for tier in view.list("ModelTier"):
        yield key_of(tier)
    for cascade in view.list("Cascade"):
        yield from _routers(cascade)
    for router in view.list("Deployment", labels={names.LABEL_COMPONENT: "router"}):
        yield Key(ROUTER, router["metadata"]["namespace"], router["metadata"]["name"])


def _routers(item: Manifest) -> Iterator[Key]:
    """Both: a Cascade that moved from one to the other concerns the one it left."""
    meta = item["metadata"]
    yield Key(ROUTER, meta["namespace"], names.SHARED_ROUTER)
    yield Key(ROUTER, meta["namespace"], names.router(meta["name"]))
