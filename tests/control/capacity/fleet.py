"""A small fleet in memory, for tests of the capacity loop: what it reads, and what it wrote."""

import asyncio
import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import Manifest, rfc3339
from modelfleet.control.capacity.loop import CapacityLoop, World
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.ports import Key
from modelfleet.errors import ClusterError, MetricsError
from modelfleet.plan.asked import Answer
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import NOTHING, CascadeLoad, FleetLoad, StepLoad, TierLoad
from modelfleet.plan.snapshot import Name, Quiet
from modelfleet.plan.spending import Counted

SMALL, MEDIUM, CHAT = (
    Key("ModelTier", "ns", "small"),
    Key("ModelTier", "ns", "medium"),
    Key("Cascade", "ns", "chat"),
)

FIRST_TOKENS = Buckets((0.5, math.inf), (60.0, 60.0))


@dataclass
class Store:
    """View and Cluster over one dictionary: what is written is seen at once, or never where `deaf`."""

    objects: dict[Key, Manifest] = field(default_factory=dict)
    writes: list[tuple[Key, Manifest]] = field(default_factory=list)
    deaf: bool = False
    refuses: bool = False
    version: int = 0

    def put(self, manifest: Manifest) -> None:
        self.version += 1
        manifest["metadata"]["resourceVersion"] = str(self.version)
        meta = manifest["metadata"]
        self.objects[Key(manifest["kind"], meta["namespace"], meta["name"])] = manifest

    def get(self, key: Key) -> Manifest | None:
        return self.objects.get(key)

    def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Sequence[Manifest]:
        return [thing for key, thing in sorted(self.objects.items()) if key.kind == kind]

    async def apply_status(self, key: Key, status: Manifest, *, manager: str) -> Manifest:
        assert manager == names.FIELD_MANAGER_CAPACITY
        if self.refuses:
            raise ClusterError("refused", status=500)
        self.writes.append((key, status))
        stored = copy.deepcopy(self.objects[key])
        stored["status"] = {**stored.get("status", {}), **status}
        self.version += 1
        stored["metadata"]["resourceVersion"] = str(self.version)
        if not self.deaf:
            self.objects[key] = stored
        return stored


@dataclass
class Api:
    """The Cluster over the same objects: what the View never shows are notes of plans."""

    store: Store
    notes: dict[Key, Manifest] = field(default_factory=dict)
    writes: int = 0  # of notes
    refuses_notes: bool = False

    async def get(self, key: Key, *, cached: bool = False) -> Manifest | None:
        if self.store.refuses:
            raise ClusterError("refused", status=500)
        return copy.deepcopy(self.notes.get(key))

    async def list(self, kind: str, *, namespace: str | None = None) -> tuple[Sequence[Manifest], int]:
        raise AssertionError("the capacity loop lists nothing")

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        assert manager == names.FIELD_MANAGER_CAPACITY
        assert manifest["kind"] == "ConfigMap", "the capacity loop writes no child"
        if self.refuses_notes:
            raise ClusterError("refused", status=403)
        meta = manifest["metadata"]
        self.notes[Key("ConfigMap", meta["namespace"], meta["name"])] = copy.deepcopy(manifest)
        self.writes += 1
        return manifest

    async def apply_status(self, key: Key, status: Manifest, *, manager: str) -> Manifest:
        return await self.store.apply_status(key, status, manager=manager)

    async def delete(self, manifest: Manifest) -> None:
        raise AssertionError("the capacity loop deletes nothing")


@dataclass
class Prometheus:
    """A metrics store that answers what it is told."""

    answer: FleetLoad | None = NOTHING
    since_s: float = 0.0
    hangs: asyncio.Event | None = None  # answers when it is set

    async def load(self, *, since_s: float) -> FleetLoad:
        self.since_s = since_s
        if self.hangs is not None:
            await self.hangs.wait()
        if self.answer is None:
            raise MetricsError("connection refused")
        return self.answer


@dataclass
class Asked:
    """What comes of the users' own queries."""

    answers: dict[str, Answer] = field(default_factory=dict)

    async def ask(self, queries: Collection[str]) -> Mapping[str, Answer]:
        return {query: self.answers[query] for query in queries}


@dataclass
class Routers:
    """What routers say of tiers by their address; those that are not listed are silent."""

    said: dict[str, dict[str, Quiet]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    counts: dict[str, Counted] = field(default_factory=dict)
    counting: list[str] = field(default_factory=list)

    async def keys_missing(self, addresses: Sequence[str]) -> frozenset[str] | None:
        raise AssertionError("the capacity loop has nothing to do with keys")

    async def quiet(self, addresses: Sequence[str]) -> Mapping[str, Mapping[str, Quiet]]:
        self.asked = [*addresses]
        return {address: self.said[address] for address in addresses if address in self.said}

    async def counted(self, addresses: Sequence[str]) -> Mapping[str, Counted]:
        self.counting = [*addresses]
        return {address: self.counts[address] for address in addresses if address in self.counts}


@dataclass
class Told:
    events: list[tuple[str, str, str]] = field(default_factory=list)
    faulty: set[str] = field(default_factory=set)  # names of objects whose Events break us

    async def record(
        self,
        regarding: Manifest,
        *,
        reason: str,
        message: str,
        warning: bool = False,
    ) -> None:
        if regarding["metadata"]["name"] in self.faulty:
            raise RuntimeError("a bug")
        self.events.append((regarding["metadata"]["name"], reason, message))


@dataclass
class Watch:
    now: float = 10_000.0

    def now_s(self) -> float:
        return self.now


@dataclass
class Fleet:
    """A small and a medium tier behind one Cascade with one router, all calm."""

    store: Store = field(default_factory=Store)
    prometheus: Prometheus = field(default_factory=Prometheus)
    routers: Routers = field(default_factory=Routers)
    asked: Asked = field(default_factory=Asked)
    told: Told = field(default_factory=Told)
    clock: Watch = field(default_factory=Watch)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    settings: FleetSettings = field(default_factory=FleetSettings)

    def __post_init__(self) -> None:
        self.api = Api(self.store)
        scaling = {
            "minReplicas": 1,
            "maxReplicas": 5,
            "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
        }
        model = {"uri": "pvc://models/m.gguf"}
        self.apply("ModelTier", "small", {"model": model, "llamaCpp": {"slots": 4}, "scaling": scaling})
        self.apply("ModelTier", "medium", {"model": model, "llamaCpp": {}})
        tiers = [
            {"name": "s", "tierRef": {"name": "small"}, "weight": {"initial": 100}, "targetShare": 70},
            {"name": "m", "tierRef": {"name": "medium"}, "weight": {"initial": 0}},
        ]
        self.apply("Cascade", "chat", {"modelName": "chat", "tiers": tiers})
        self.pod("small-0", names.LABEL_TIER, names.tier_child("small"))
        self.pod("medium-0", names.LABEL_TIER, names.tier_child("medium"))
        self.pod("router-0", names.LABEL_ROUTER, names.router())
        self.in_flight(2.0)
        self.loop = self.restarted()

    def restarted(self) -> CapacityLoop:
        world = World(
            self.store,
            self.api,
            self.told,
            self.clock,
            self.prometheus,
            self.routers,
            self.asked,
            lambda: self.settings,
        )
        self.registry = CollectorRegistry()
        return CapacityLoop(world, interval_s=lambda: 15.0, instruments=CapacityMetrics(self.registry))

    def apply(self, kind: str, name: str, spec: Manifest, **more: Manifest) -> None:
        meta = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "generation": 1}
        self.store.put(
            {"apiVersion": names.API_VERSION, "kind": kind, "metadata": meta, "spec": spec, **more}
        )

    def respec(self, key: Key, **scaling: object) -> None:
        """Change fields of a tier's spec.scaling."""
        thing = copy.deepcopy(self.store.objects[key])
        thing["spec"]["scaling"] |= scaling
        self.store.put(thing)

    def respec_tier(self, name: str, **spec: object) -> None:
        """Change fields of a tier's spec."""
        thing = copy.deepcopy(self.store.objects[Key("ModelTier", "ns", name)])
        thing["spec"] |= spec
        self.store.put(thing)

    def verdict(self, key: Key, kind: str) -> str:
        """Status and reason of one condition."""
        found = {each["type"]: each for each in self.status(key)["conditions"]}
        return f"{found[kind]['status']}/{found[kind]['reason']}"

    def annotate(self, key: Key, name: str, value: str | None) -> None:
        thing = copy.deepcopy(self.store.objects[key])
        annotations = thing["metadata"].setdefault("annotations", {})
        annotations.pop(name, None)
        if value is not None:
            annotations[name] = value
        self.store.put(thing)

    def pod(
        self,
        name: str,
        label: str,
        value: str,
        *,
        ready: bool = True,
        since_s: float = 0.0,
        address: str | None = None,
    ) -> None:
        condition = {
            "type": "Ready",
            "status": str(ready),
            "lastTransitionTime": rfc3339(since_s),
        }
        meta = {"namespace": "ns", "name": name, "labels": {label: value}}
        self.store.put(
            {"kind": "Pod", "metadata": meta, "status": {"conditions": [condition], "podIP": address}}
        )

    def in_flight(self, small: float, *, age_s: float = 3.0, routers: int = 1) -> None:
        load = TierLoad(in_flight=small, age_s=age_s, routers=routers, ttft=FIRST_TOKENS)
        calm = replace(load, in_flight=1.0)
        self.prometheus.answer = FleetLoad(
            tiers={Name("ns", "small"): load, Name("ns", "medium"): calm},
            started={Name("ns", "chat"): {"s": 90.0, "m": 10.0}},
            answered={Name("ns", "chat"): {"s": 70.0, "m": 30.0}},
        )

    def scores(self, scores: Buckets) -> None:
        """What routers have scored at the first tier, all of it decided by the score."""
        assert self.prometheus.answer is not None
        step = StepLoad(judged=scores.count, scored=scores.count, escalated=0.0, scores=scores)
        chat = CascadeLoad(age_s=3.0, routers=1, steps={"s": step})
        self.prometheus.answer = replace(self.prometheus.answer, cascades={Name("ns", "chat"): chat})

    def status(self, key: Key) -> Manifest:
        return self.store.objects[key].get("status", {})

    def condition(self, key: Key) -> tuple[str, str]:
        condition = self.status(key)["conditions"][0]
        return condition["status"], condition["reason"]

    def weights(self) -> dict[str, int]:
        return {tier["name"]: tier["weight"] for tier in self.status(CHAT)["tiers"]}

    async def tick(self, *, after_s: float = 15.0) -> None:
        self.clock.now += after_s
        await self.loop.tick()
