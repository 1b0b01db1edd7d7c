"""What the watches have delivered, kept small: the loops' only source of observed state.

Three hands put objects here.  A watch delivers them; a write of ours returns them; the periodic resync lists them.
The newest resourceVersion wins.  What a write or a list has shown, and the watch has not delivered in time, tells
that a watch has gone silent: `overdue_s` is what the liveness probe asks.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelfleet import names
from modelfleet.api.meta import Manifest
from modelfleet.control.ports import Key

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


_Label = tuple[str, str, str]  # kind, label, value
Labels = list[_Label]
# Asked for in every reconcile, while a fleet may have thousands of pods.
_INDEXED = (names.LABEL_TIER, names.LABEL_ROUTER)
Keys = list[Key]  # a name that `list`, the method, does not hide


class MemoryView:
    """A View (see ports) over plain dictionaries; one event loop only."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], Manifest]] = defaultdict(dict)
        self._watched: dict[Key, int] = {}  # newest resourceVersion that the watch has delivered
        self._awaited: dict[Key, tuple[int, float]] = {}  # resourceVersion the watch owes us, since when
        self._tiers: dict[tuple[str, str], str] = {}  # (namespace, child name) -> ModelTier
        self._adopted: dict[tuple[str, str], tuple[Manifest, ...]] = {}  # (namespace, child name) -> pods
        self._labelled: dict[_Label, set[tuple[str, str]]] = defaultdict(set)  # -> where such objects are

    def get(self, key: Key) -> Manifest | None:
        """The object as last seen, or None.  Callers must not change it."""
        return self._objects[key.kind].get((key.namespace, key.name))

    def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] = {}
    ) -> Sequence[Manifest]:
        """Objects of a kind, sorted by namespace and name."""
        objects = self._objects[kind]
        indexed = [(kind, label, labels[label]) for label in _INDEXED if label in labels]
        places = self._labelled.get(indexed[0], ()) if indexed else objects
        return [
            objects[place]
            for place in sorted(places)
            if (namespace is None or place[0] == namespace) and _has_labels(objects[place], labels)
        ]

    def tier_of(self, namespace: str, child: str) -> str | None:
        """Name of the ModelTier whose children are called `child`."""
        return self._tiers.get((namespace, child))

    def watched(self, item: Manifest, *, deleted: bool = False) -> bool:
        """Take what a watch delivered; whether that was news."""
        key = key_of(item)
        version = _version(item)
        self._watched[key] = max(version, self._watched.get(key, 0))
        if key in self._awaited and self._awaited[key][0] <= version:
            del self._awaited[key]
        if not deleted:
            return self._put(key, item)
        del self._watched[key]
        self._awaited.pop(key, None)
        return self._drop(key, at_version=version)

    def written(self, item: Manifest, *, now_s: float) -> None:
        """Take what the API server returned for a write of ours, ahead of the watch."""
        key = key_of(item)
        self._await(key, _version(item), now_s)
        self._put(key, item)

    def adopt(self, namespace: str, child: str, pods: Iterable[Manifest]) -> None:
        """Take all pods of a workload that somebody else runs for a tier, as if they carried the tier's label.

        Each stands under a name that no pod can have: it may serve several tiers, and no watch or list knows it.
        """
        # By name: a hand-written endpoint may stand in two slices.
        now = tuple({pod["metadata"]["name"]: _adopted(pod, namespace, child) for pod in pods}.values())
        before = self._adopted.pop((namespace, child), ())
        if now:
            self._adopted[namespace, child] = now
        for known, taken in ((before, False), (now, True)):
            for pod in known:
                place = (namespace, f"{child}/{pod['metadata']['name']}")
                self._index("Pod", place, None if taken else pod, pod if taken else None)
                if taken:
                    self._objects["Pod"][place] = pod
                else:
                    del self._objects["Pod"][place]

    def listed(
        self,
        kind: str,
        items: Iterable[Manifest],
        *,
        at_version: int,
        now_s: float,
        namespace: str | None = None,
    ) -> "Keys":
        """Take a full list; returns the keys that it changed.  Objects that it lacks are gone."""
        changed: list[Key] = []
        seen: set[tuple[str, str]] = set()
        for item in items:
            key = key_of(item)
            seen.add((key.namespace, key.name))
            self._await(key, _version(item), now_s)
            if self._put(key, item):
                changed.append(key)
        for place in [place for place in self._objects[kind] if place not in seen and "/" not in place[1]]:
            key = Key(kind, *place)
            if (namespace is None or namespace == key.namespace) and self._drop(key, at_version=at_version):
                self._watched.pop(key, None)
                self._awaited.pop(key, None)
                changed.append(key)
        return changed

    def overdue_s(self, now_s: float) -> float:
        """How long the oldest change that a watch owes us has been known, in seconds; 0 when none."""
        return max((now_s - since_s for _, since_s in self._awaited.values()), default=0.0)

    def overdue(self, *, since_s: float) -> "Keys":
        """The objects whose change was known at `since_s` already, and no watch has delivered it yet."""
        return sorted(key for key, (_, known_s) in self._awaited.items() if known_s <= since_s)

    def forget(self, key: Key) -> None:
        """The object is gone, and no watch will say so: it came and went between two of them."""
        self._drop(key, at_version=sys.maxsize)
        self._watched.pop(key, None)
        self._awaited.pop(key, None)

    def count(self, kind: str) -> int:
        """Objects of a kind."""
        return len(self._objects[kind])

    def _await(self, key: Key, version: int, now_s: float) -> None:
        if version > self._watched.get(key, 0) and key not in self._awaited:
            self._awaited[key] = (version, now_s)

    def _put(self, key: Key, item: Manifest) -> bool:
        before = self.get(key)
        if before is not None and _version(before) >= _version(item):
            return False
        place = (key.namespace, key.name)
        self._index(key.kind, place, before, item)
        self._objects[key.kind][place] = trimmed(item)
        if key.kind == "ModelTier":
            self._tiers[key.namespace, names.tier_child(key.name)] = key.name
        return True

    def _drop(self, key: Key, *, at_version: int) -> bool:
        before = self.get(key)
        if before is None or _version(before) > at_version:
            return False  # created again since
        del self._objects[key.kind][key.namespace, key.name]
        self._index(key.kind, (key.namespace, key.name), before, None)
        if key.kind == "ModelTier":
            self._tiers.pop((key.namespace, names.tier_child(key.name)), None)
        return True

    def _index(
        self, kind: str, place: tuple[str, str], before: Manifest | None, now: Manifest | None
    ) -> None:
        for label in _labels_of(kind, before):
            self._labelled[label].discard(place)
            if not self._labelled[label]:
                del self._labelled[label]
        for label in _labels_of(kind, now):
            self._labelled[label].add(place)


def key_of(item: Manifest) -> Key:
    """The key of an object."""
    return Key(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])


def trimmed(item: Manifest) -> Manifest:
    """The object without what nobody here reads: it is most of its bytes."""
    meta = {field: value for field, value in item["metadata"].items() if field != "managedFields"}
    if _LAST_APPLIED in meta.get("annotations", {}):
        meta["annotations"] = {k: v for k, v in meta["annotations"].items() if k != _LAST_APPLIED}
    kept: dict[str, Any] = {field: value for field, value in item.items() if field != "metadata"}
    if item["kind"] == "Pod":
        kept.pop("spec", None)
    return {**kept, "metadata": meta}


def _adopted(pod: Manifest, namespace: str, child: str) -> Manifest:
    meta = pod["metadata"]
    labels = {**(meta.get("labels") or {}), names.LABEL_TIER: child}
    return trimmed({**pod, "kind": "Pod", "metadata": {**meta, "namespace": namespace, "labels": labels}})


def _labels_of(kind: str, item: Manifest | None) -> "Labels":
    own = (item["metadata"].get("labels") or {}) if item else {}
    return [(kind, label, own[label]) for label in _INDEXED if label in own]


def _version(item: Manifest) -> int:
    return int(item["metadata"]["resourceVersion"])


def _has_labels(item: Manifest, labels: Mapping[str, str]) -> bool:
    own = item["metadata"].get("labels") or {}
    return all(own.get(label) == value for label, value in labels.items())
