"""The world of the structure loop in memory, small enough to read: it stores what is applied and counts writes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelfleet.api.existing import ExistingWorkload
from modelfleet.api.key import Key
from modelfleet.control.context import Context, FleetSettingsCell
from modelfleet.control.resync import KINDS
from modelfleet.control.view import MemoryView, key_of
from modelfleet.diff.adopted import Found
from modelfleet.errors import ClusterError, Conflict
from modelfleet.plan.snapshot import Quiet
from modelfleet.plan.spending import Counted
from tests.make import SETTINGS, merged


@dataclass
class FakeCluster:
    """A Cluster (see ports).  `refuse` maps a kind to the error that its writes meet."""

    objects: dict[Key, Any] = field(default_factory=dict)
    refuse: dict[str, ClusterError] = field(default_factory=dict)
    writes: list[tuple[str, Key]] = field(default_factory=list)
    version: int = 1000

    def put(self, item: Any) -> Any:
        """Store an object as somebody else would."""
        self.version += 1
        stored = copy.deepcopy(item)
        meta = stored["metadata"]
        meta.setdefault("uid", f"uid-{self.version}")
        meta["resourceVersion"] = str(self.version)
        self.objects[key_of(stored)] = stored
        return copy.deepcopy(stored)

    async def get(self, key: Key, *, cached: bool = False) -> Any:
        return copy.deepcopy(self.objects.get(key))

    async def list(self, kind: str, *, namespace: str | None = None) -> tuple[Sequence[Any], int]:
        found = [
            copy.deepcopy(item)
            for key, item in sorted(self.objects.items())
            if key.kind == kind and namespace in (None, key.namespace)
        ]
        return found, self.version

    async def apply(self, manifest: Any, *, manager: str) -> Any:
        key = key_of(manifest)
        self._write("apply", key)
        before = self.objects.get(key)
        meta = manifest["metadata"]
        if before is not None and any(
            meta.get(name, before["metadata"][name]) != before["metadata"][name]
            for name in ("uid", "resourceVersion")
        ):
            raise Conflict("the object changed", status=409)
        kept = {"status": before["status"]} if before and "status" in before else {}
        uid = {"uid": before["metadata"]["uid"]} if before else {}
        return self.put({**kept, **manifest, "metadata": {**meta, **uid}})

    async def apply_status(self, key: Key, status: Any, *, manager: str) -> Any:
        self._write("status", key)
        if key not in self.objects:
            raise ClusterError("not found", status=404)
        return self.put(merged(self.objects[key], {"status": status}))

    async def delete(self, manifest: Any) -> None:
        key = key_of(manifest)
        self._write("delete", key)
        self.objects.pop(key, None)

    def _write(self, verb: str, key: Key) -> None:
        self.writes.append((verb, key))
        if key.kind in self.refuse:
            raise self.refuse[key.kind]


@dataclass
class FakeEvents:
    """Events (see ports), kept."""

    recorded: list[tuple[str, str]] = field(default_factory=list)

    async def record(self, regarding: Any, *, reason: str, message: str, warning: bool = False) -> None:
        self.recorded.append((reason, message))


@dataclass
class FakeHub:
    """A Hub (see ports) that answers with `says`, or raises it."""

    says: str | Exception | None = None
    asked: int = 0

    async def commit(self, repository: str, revision: str, *, endpoint: str, timeout_s: float) -> str | None:
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@dataclass
class FakeReports:
    """Reports (see ports) that answer with what is set here."""

    missing: frozenset[str] | None = None
    usable: int | None = None
    down: Mapping[str, str] | None = None

    async def keys_missing(self, addresses: Sequence[str]) -> frozenset[str] | None:
        return self.missing

    async def keys_usable(self, addresses: Sequence[str]) -> int | None:
        return self.usable

    async def outages(self, addresses: Sequence[str]) -> Mapping[str, str] | None:
        return self.down

    async def quiet(self, addresses: Sequence[str]) -> Mapping[str, Mapping[str, Quiet]]:
        return {}

    async def counted(self, addresses: Sequence[str]) -> Mapping[str, Counted]:
        return {}


@dataclass
class FakeWorkloads:
    """Workloads (see ports) of which there is one; `asked` keeps what it was scaled to."""

    found: Found = field(default_factory=Found)
    refuse: ClusterError | None = None
    asked: list[int] = field(default_factory=list)

    async def look(self, namespace: str, existing: ExistingWorkload) -> Found:
        return copy.deepcopy(self.found)

    async def resize(self, namespace: str, existing: ExistingWorkload, found: Found, replicas: int) -> Any:
        self.asked.append(replicas)
        if self.refuse is not None:
            raise self.refuse
        self.found = replace(
            self.found, scale=merged(self.found.scale or {}, {"spec": {"replicas": replicas}})
        )
        return copy.deepcopy(self.found.scale)


@dataclass
class FakeClock:
    """A Clock (see ports) that stands still until it is moved."""

    time_s: float = 1_780_000_000.0

    def now_s(self) -> float:
        return self.time_s


@dataclass
class World:
    """All of it, joined; `deliver` plays the watches."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    hub: FakeHub = field(default_factory=FakeHub)
    reports: FakeReports = field(default_factory=FakeReports)
    workloads: FakeWorkloads = field(default_factory=FakeWorkloads)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.ctx = Context(
            view=MemoryView(),
            cluster=self.cluster,
            events=FakeEvents(),
            hub=self.hub,
            reports=self.reports,
            workloads=self.workloads,
            clock=self.clock,
            settings=FleetSettingsCell(SETTINGS),
            resync_s=300.0,
        )

    def add(self, *items: Any) -> None:
        """Store objects and have the watches deliver them."""
        for item in items:
            self.ctx.view.watched(self.cluster.put(item))

    def deliver(self) -> None:
        """Have the watches deliver all that is stored, and the deletions."""
        for kind in KINDS:
            items = [item for key, item in self.cluster.objects.items() if key.kind == kind]
            self.ctx.view.listed(kind, items, at_version=self.cluster.version + 1, now_s=self.clock.time_s)
            for item in items:
                self.ctx.view.watched(copy.deepcopy(item))

    def stored(self, kind: str, name: str, namespace: str = "models") -> Any:
        """An object as stored, or None."""
        return self.cluster.objects.get(Key(kind, namespace, name))

    def conditions(self, kind: str, name: str) -> dict[str, str]:
        """An object's conditions as stored: type -> status/reason."""
        status = self.stored(kind, name)["status"]
        return {each["type"]: f"{each['status']}/{each['reason']}" for each in status["conditions"]}
