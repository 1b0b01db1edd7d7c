"""The operator as it runs in a cluster: its own capacity loop, on objects in memory and on what the simulation shows.

Nothing is decided here.  Replicas of the objects' status go through `desired/tier.py`, weights, thresholds and what
routers move within through the route table of `desired/table.py`, so whatever the user's YAML says holds here as there.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import Condition, Manifest, seconds
from modelfleet.api.route_table import CascadeRoute
from modelfleet.control.capacity.loop import CapacityLoop
from modelfleet.control.capacity.loop import World as Around
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.desired import table, tier
from modelfleet.errors import MetricsError
from modelfleet.plan.load import FleetLoad
from modelfleet.plan.snapshot import Name, Quiet
from modelfleet.sim.operator.objects import NAMESPACE, Objects, ObjectsApi, Unasked
from modelfleet.sim.operator.shown import fleet_load
from modelfleet.sim.policy import Orders, Published, Seen

_HOUR_S = 3600.0
_PERMILLE = 1000
_COME_AND_GO = frozenset({"Scheduled", "Cold"})  # no trouble when they are False
_FIXED = frozenset({"Disabled", "NotScalable"})  # nor is a size that the user chose
_HELD = frozenset({"PoolLimit", "MetricsPartlyStale"})  # but these are, though True


class _Time:
    """The clock of the simulation."""

    def __init__(self, now_s: float) -> None:
        self.at_s = now_s

    def now_s(self) -> float:
        return self.at_s


class _Store:
    """A metrics store that knows the last look."""

    def __init__(self) -> None:
        self.told: Callable[[float], FleetLoad] | None = None

    async def load(self, *, since_s: float) -> FleetLoad:
        if self.told is None:
            raise MetricsError("the simulated scrape was lost")
        return self.told(since_s)


class _Loop(CapacityLoop):
    """Ticked by hand, and always the leader."""

    def __init__(self, world: Around, *, interval_s: float) -> None:
        super().__init__(
            world, interval_s=lambda: interval_s, instruments=CapacityMetrics(CollectorRegistry())
        )
        self._running = True


class Operator:
    """A Policy, and a Prompt one: readiness and calls for a sleeping tier do not wait for the next look."""

    name = "operator"

    def __init__(
        self,
        documents: Sequence[Manifest],
        cascade: str,
        *,
        settings: FleetSettings | None = None,
        start_s: float = 0.0,
    ) -> None:
        """`documents`: one Cascade and its ModelTiers; `start_s`: the time of day at which the run begins, since the epoch."""
        self._settings = settings or FleetSettings()
        self.look_s = seconds(self._settings.capacity.interval)
        self._objects = Objects(documents)
        self._cascade, self._start_s = Name(NAMESPACE, cascade), start_s
        steps = self._objects.cascade(cascade).spec.tiers
        self._tiers = {step.name: Name(NAMESPACE, step.tier_ref.name) for step in steps}
        self._time, self._store = _Time(start_s), _Store()
        self._loop = _Loop(
            Around(
                self._objects,
                ObjectsApi(self._objects),
                self._objects,
                self._time,
                self._store,
                self._objects,
                Unasked(),
                lambda: self._settings,
            ),
            interval_s=self.look_s,
        )
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """Ends the event loop that the capacity loop runs in."""
        self._runner.close()

    def overrule(self, replicas: Mapping[str, int]) -> None:
        """Somebody else has decided how many replicas each tier has."""
        for step, wanted in replicas.items():
            self._objects.decided(self._tiers[step].name, wanted)

    def said(self) -> list[str]:
        """What the conditions of all objects say now, as `Kind/name Type=Status Reason: message`."""
        return [
            f"{label} {each.type}={each.status} {each.reason}: {each.message}"
            for label, each in self._conditions()
        ]

    def troubles(self) -> list[str]:
        """The same, of what is not as it should be."""
        return [
            f"{label} {each.type}={each.status} {each.reason}: {each.message}"
            for label, each in self._conditions()
            if (each.status == "False" and each.type not in _COME_AND_GO and each.reason not in _FIXED)
            or each.reason in _HELD
        ]

    def _conditions(self) -> Iterator[tuple[str, Condition]]:
        for name in dict.fromkeys(self._tiers.values()):
            for each in self._objects.tier(name.name).status.conditions:
                yield f"ModelTier/{name.name}", each
        for each in self._objects.cascade(self._cascade.name).status.conditions:
            yield f"Cascade/{self._cascade.name}", each

    def decide(self, seen: Seen) -> Orders:
        self._observe(seen)
        now = replace(seen, tiers=[*seen.tiers])

        def told(since_s: float) -> FleetLoad:
            return fleet_load(now, cascade=self._cascade, tiers=self._tiers, since_s=since_s)

        self._store.told = None if seen.lost else told
        self._runner.run(self._loop.tick())
        return self._orders()

    def at_once(self, seen: Seen, *, wanted: Collection[str]) -> Orders:
        self._observe(seen)
        for step in wanted:
            self._loop.wake(self._tiers[step])
        self._runner.run(self._loop.rebalance())
        return self._orders()

    def _observe(self, seen: Seen) -> None:
        """Pods, and what the router says of tiers that may sleep."""
        self._time.at_s = self._start_s + seen.now_s
        for one in seen.tiers:
            if not one.tier.external:
                name = self._tiers[one.tier.name].name
                self._objects.runs(name, one.wanted, one.pods, start_s=self._start_s)
        self._objects.quiet_by_tier = {
            self._tiers[one.tier.name].name: Quiet(one.quiet_s, one.router_queue if not one.ready else 0)
            for one in seen.tiers
        }

    def _orders(self) -> Orders:
        """What the structure loop makes of the statuses: replicas, and the route table."""
        tiers = {name.name: self._objects.tier(name.name) for name in self._tiers.values()}
        replicas = {
            step: tier.replicas(tiers[name.name], self._objects.deployment(name.name))
            for step, name in self._tiers.items()
            if tiers[name.name].spec.external is None
        }
        route = table.cascade_route(self._objects.cascade(self._cascade.name), tiers)
        if route is None:
            return Orders(replicas)
        return _routed(replicas, route, steps=list(self._tiers))


def _routed(replicas: dict[str, int], route: CascadeRoute, *, steps: Sequence[str]) -> Orders:
    """Orders as a router reads them off its table; a tier that is left out of it gets nothing."""
    by_step = {each.name: each for each in route.tiers}
    found = [by_step.get(step) for step in steps]
    thresholds = [
        each.accept.threshold if each is not None and each.accept is not None else None for each in found
    ]
    judged = thresholds if any(bar is not None for bar in thresholds) else None
    if route.owed_permille is not None:
        published = Published(
            target=route.owed_permille / _PERMILLE,
            carries_rps=[each.carries_per_hour / _HOUR_S if each is not None else 0.0 for each in found],
            under_way=[each.under_way if each is not None else 0.0 for each in found],
        )
        return Orders(replicas, published=published, thresholds=judged)
    weights = [each.weight_permille if each is not None else 0 for each in found]
    return Orders(replicas, entry=[weight / sum(weights) for weight in weights], thresholds=judged)
