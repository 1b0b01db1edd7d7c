"""The user's objects as a cluster in memory, which the capacity loop reads and writes as it would the API server."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.key import Key
from modelfleet.api.meta import Manifest, rfc3339
from modelfleet.api.model_tier import ModelTier
from modelfleet.plan.asked import Answer
from modelfleet.plan.snapshot import Quiet
from modelfleet.sim.policy import PodSeen

NAMESPACE = "default"
ROUTER = Key("Pod", NAMESPACE, "router-0")
_ADDRESS = "router"  # of the only router


class Objects:
    """View, Cluster, Events and Reports at once: what is written is seen at once, and nothing is ever refused."""

    def __init__(self, documents: Sequence[Manifest]) -> None:
        """`documents`: ModelTiers and Cascades; their status and namespace are of no interest."""
        self._objects: dict[Key, Manifest] = {}
        self._pods: dict[Key, Manifest] = {}
        self._version = 0
        self.quiet_by_tier: Mapping[str, Quiet] = {}
        for document in documents:
            meta = document["metadata"]
            kept = {name: meta[name] for name in ("name", "annotations", "labels") if meta.get(name)}
            made = {
                **kept,
                "namespace": NAMESPACE,
                "uid": f"{document['kind']}-{meta['name']}",
                "generation": 1,
            }
            self._put({**document, "metadata": made, "status": {}})
        labels = {names.LABEL_ROUTER: names.router()}
        self._pods[ROUTER] = _pod(ROUTER.name, labels, born_s=0.0, ready_s=0.0)

    def tier(self, name: str) -> ModelTier:
        """As it stands."""
        return ModelTier.model_validate(self._objects[Key("ModelTier", NAMESPACE, name)])

    def cascade(self, name: str) -> Cascade:
        """As it stands."""
        return Cascade.model_validate(self._objects[Key("Cascade", NAMESPACE, name)])

    def deployment(self, tier: str) -> Manifest | None:
        """A tier's, once something ran."""
        return self._objects.get(Key("Deployment", NAMESPACE, names.tier_child(tier)))

    def decided(self, tier: str, replicas: int) -> None:
        """As if the last decision about a tier had been this one."""
        self.applied_status(Key("ModelTier", NAMESPACE, tier), {"desiredReplicas": replicas})

    def runs(self, tier: str, replicas: int, pods: Sequence[PodSeen], *, start_s: float) -> None:
        """What there is of a tier: its Deployment, and its pods.  `start_s`: of the run, since the epoch."""
        child = names.tier_child(tier)
        deployment = Key("Deployment", NAMESPACE, child)
        self._objects[deployment] = {
            "metadata": {"name": child, "namespace": NAMESPACE},
            "spec": {"replicas": replicas},
        }
        labels = {names.LABEL_TIER: child}
        found = {}
        for pod in pods:
            key = Key("Pod", NAMESPACE, f"{child}-{pod.number}")
            known = self._pods.get(key)
            if known is None or (pod.ready_s is not None and not known["status"]["containerStatuses"]):
                ready_s = None if pod.ready_s is None else start_s + pod.ready_s
                known = _pod(key.name, labels, born_s=start_s + pod.born_s, ready_s=ready_s)
            found[key] = known
        others = {
            key: pod
            for key, pod in self._pods.items()
            if pod["metadata"]["labels"].get(names.LABEL_TIER) != child
        }
        self._pods = others | found

    # View.

    def get(self, key: Key) -> Manifest | None:
        """The object, or None."""
        return self._pods.get(key) or self._objects.get(key)

    def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,  # noqa: ARG002  there is one
        labels: Mapping[str, str] = {},
    ) -> Sequence[Manifest]:
        """Objects of a kind."""
        among = self._pods if kind == "Pod" else self._objects
        return [
            thing
            for key, thing in sorted(among.items())
            if key.kind == kind and labels.items() <= (thing["metadata"].get("labels") or {}).items()
        ]

    # Events and Reports.

    async def record(self, regarding: Manifest, *, reason: str, message: str, warning: bool = False) -> None:
        """Nobody reads them."""

    async def quiet(self, addresses: Sequence[str]) -> Mapping[str, Mapping[str, Quiet]]:
        """What the only router says."""
        return {address: self.quiet_by_tier for address in addresses if address == _ADDRESS}

    async def keys_missing(self, addresses: Sequence[str]) -> frozenset[str] | None:  # noqa: ARG002
        """None misses any."""
        return frozenset()

    async def keys_usable(self, addresses: Sequence[str]) -> int | None:  # noqa: ARG002
        """It asks for none."""
        return None

    async def outages(self, addresses: Sequence[str]) -> Mapping[str, str] | None:  # noqa: ARG002
        """External APIs always answer."""
        return {}

    def _put(self, manifest: Manifest) -> Manifest:
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        meta = manifest["metadata"]
        self._objects[Key(manifest["kind"], meta["namespace"], meta["name"])] = manifest
        return manifest

    async def counted(self, addresses: Sequence[str]) -> Mapping[str, Any]:  # noqa: ARG002
        """No budget is simulated."""
        return {}

    def applied_status(self, key: Key, status: Manifest) -> Manifest:
        """As the API server merges it for one manager that owns all of it."""
        stored = copy.deepcopy(self._objects[key])
        stored["status"] = {**stored.get("status", {}), **status}
        return self._put(stored)


class ObjectsApi:
    """The Cluster over the same objects: what plans keep in a ConfigMap is kept nowhere, since nothing restarts."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, key: Key, *, cached: bool = False) -> Manifest | None:  # noqa: ARG002
        """The object as it is stored now, or None."""
        return self._objects.get(key)

    async def list(self, kind: str, *, namespace: str | None = None) -> tuple[Sequence[Manifest], int]:
        """All of a kind."""
        return self._objects.list(kind, namespace=namespace), 0

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:  # noqa: ARG002
        """Goes nowhere."""
        return manifest

    async def apply_status(self, key: Key, status: Manifest, *, manager: str) -> Manifest:  # noqa: ARG002
        """Stored, and seen at once."""
        return self._objects.applied_status(key, status)

    async def delete(self, manifest: Manifest) -> None:
        """Nothing is deleted."""


class Unasked:
    """No query of a user's can be answered here."""

    async def ask(self, queries: Collection[str]) -> Mapping[str, Answer]:
        """Why there is nothing."""
        return {query: Answer(problem="no query is simulated") for query in queries}


def _pod(name: str, labels: Mapping[str, str], *, born_s: float, ready_s: float | None) -> Manifest:
    """As a kubelet reports one: scheduled at once, and all of its start is the engine's."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(born_s)}
    ready = {
        "type": "Ready",
        "status": str(ready_s is not None),
        "lastTransitionTime": rfc3339(born_s if ready_s is None else ready_s),
    }
    containers = [{"restartCount": 0, "state": {"running": {"startedAt": rfc3339(born_s)}}}]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": name,
            "labels": dict(labels),
            "creationTimestamp": rfc3339(born_s),
        },
        "status": {
            "conditions": [scheduled, ready],
            "podIP": _ADDRESS,
            "containerStatuses": [] if ready_s is None else containers,
        },
    }
