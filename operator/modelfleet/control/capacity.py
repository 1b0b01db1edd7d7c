"""The capacity loop: observe the load, decide with `plan/`, act by writing the decision to status.

One loop for the whole fleet on its own timer.  It writes no child: the structure loop applies what it decides.  A
change of readiness does not wait for the timer: `kick()` has the weights decided again at once, on the numbers
at hand.  Nor does a request that waits for a tier which sleeps: `wake()` has that tier decided at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import structlog

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.control import capacity_status
from modelfleet.control.capacity_idle import Heard, Listener
from modelfleet.control.capacity_memory import Memory, Store, weights_spec
from modelfleet.control.capacity_metrics import CapacityMetrics
from modelfleet.control.capacity_observe import Observed, snapshot
from modelfleet.control.ports import Clock, Cluster, Events, Key, Reports, View
from modelfleet.errors import ClusterError, MetricsError
from modelfleet.plan.facts import facts
from modelfleet.plan.fleet import Plan, plan
from modelfleet.plan.load import NOTHING, FleetLoad
from modelfleet.plan.rules import Verdict
from modelfleet.plan.scale import remember_change, remember_wish
from modelfleet.plan.snapshot import Change, FleetSnapshot, Name, Source, TierSnapshot, Wish
from modelfleet.plan.weights import WeightsVerdict

_LOG = structlog.get_logger("modelfleet.capacity")
_WRITES_AT_ONCE = 8
# A burst of readiness events is one pass, and passes over a large fleet leave most of the core to others.
_GAP_S_MIN, _GAP_S_MAX = 0.1, 1.0
_GAP_PER_PASS = 4.0
_BLIND = frozenset({"MetricsStale", "MetricsPartlyStale"})


Call = Literal["Accepted", "NotAsleep", "NotLeader"]


class Metrics(Protocol):
    """Where the load comes from."""

    @property
    def configured(self) -> bool:
        """Whether there is anybody to ask."""

    async def load(self, percentiles: Collection[int]) -> FleetLoad:
        """One look, with TTFT at these percentiles.  Raises MetricsError."""


@dataclass(frozen=True, slots=True)
class World:
    """What the loop reads and writes."""

    view: View
    cluster: Cluster
    events: Events
    clock: Clock
    metrics: Metrics
    routers: Reports


class CapacityLoop:
    """Runs while this process leads.  `interval_s` is asked for before every wait, so it may change at any time."""

    def __init__(
        self, world: World, *, interval_s: Callable[[], float], instruments: CapacityMetrics
    ) -> None:
        self._world = world
        self._interval_s = interval_s
        self._instruments = instruments
        self._store = Store(world.view, on_invalid=_log_invalid)
        self._memory = Memory()
        self._load = NOTHING
        self._load_taken_s = 0.0
        self._source: Source = "Silent"  # until the first look
        self._heard = Heard()
        self._asleep: set[Name] = set()  # tiers that a call can wake
        self._called = asyncio.Event()  # for one of them
        self._running = False
        self._kicked = asyncio.Event()
        self._writing = asyncio.Semaphore(_WRITES_AT_ONCE)

    def kick(self) -> None:
        """Readiness or a spec changed: decide the weights again now.  Call from the event loop's thread."""
        self._kicked.set()

    def wake(self, name: Name) -> Call:
        """A router has a request for a tier that sleeps.  Call from the event loop's thread.

        Whoever calls, it means no more than one replica of a tier that a Cascade names and that runs none: for any
        other it changes nothing.
        """
        outcome: Call = "Accepted"
        if not self._running:
            outcome = "NotLeader"
        elif name not in self._asleep:
            outcome = "NotAsleep"
        elif name not in self._heard.woken:
            self._heard = replace(self._heard, woken=self._heard.woken | {name})
            self._called.set()
        if outcome == "Accepted":
            self.kick()
        self._instruments.wake_calls.labels(outcome).inc()
        return outcome

    async def run(self) -> None:
        """Decide until cancelled.  Survives every error: a fleet without this loop neither grows nor sheds."""
        timer = asyncio.get_running_loop()
        self._running = True
        try:
            while True:
                due_s = timer.time() + self._interval_s()
                await self._survive(self.tick)
                await self._answer_kicks_until(asyncio.sleep(due_s - timer.time()))
        finally:
            self._running = False

    async def tick(self) -> None:
        """One full pass: ask for the load, then decide replicas and weights."""
        await self._answer_kicks_until(self._look())
        await self._answer_kicks_until(self._hear())
        await self._pass(scale=True)
        self._instruments.last_tick.set(self._world.clock.now_s())

    async def rebalance(self) -> None:
        """Weights alone, on the numbers of the last look.  Replicas only of tiers never seen before."""
        await self._pass(scale=False)

    async def _answer_kicks_until(self, other: Coroutine[Any, Any, None]) -> None:
        """Await `other`; meanwhile every kick has its weights decided, also while Prometheus does not answer."""
        waited = asyncio.create_task(other)
        kicked = asyncio.create_task(self._kicked.wait())
        try:
            while not waited.done():
                await asyncio.wait({waited, kicked}, return_when=asyncio.FIRST_COMPLETED)
                if kicked.done():
                    self._kicked.clear()
                    kicked = asyncio.create_task(self._kicked.wait())
                    await self._survive(self.rebalance)
            await waited
        finally:
            waited.cancel()
            kicked.cancel()

    async def _survive(self, work: Callable[[], Awaitable[None]]) -> None:
        timer = asyncio.get_running_loop()
        began_s = timer.time()
        try:
            await work()
        except Exception:  # noqa: BLE001  a bug in one pass must not end all passes
            _LOG.exception("capacity pass failed")
        gap_s = _GAP_PER_PASS * (timer.time() - began_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(gap_s, _GAP_S_MIN), _GAP_S_MAX)):
                await self._called.wait()  # somebody's request waits: all others' kicks can

    async def _look(self) -> None:
        """Ask for the load.  A look that fails leaves the planner without numbers, so it holds."""
        if not self._world.metrics.configured:
            self._load, self._source = NOTHING, "Unset"
            return
        try:
            self._load = await self._world.metrics.load(self._percentiles())
        except MetricsError as err:
            self._source = "Silent"
            self._instruments.query_errors.inc()
            _LOG.warning("metrics lost", error=str(err))
            return
        self._source = "Answers"
        self._load_taken_s = self._world.clock.now_s()

    async def _hear(self) -> None:
        """Ask the routers of tiers that may sleep how long they had nothing to do."""
        listener = Listener(self._world.view, self._store.cascades())
        asked = listener.addresses(self._store.tiers())
        reported = await self._world.routers.quiet(asked) if asked else {}
        self._heard = Heard(reported, at_s=self._world.clock.now_s(), woken=self._heard.woken)

    def _percentiles(self) -> set[int]:
        scaled = (tier.spec.scaling for tier in self._store.tiers().values())
        return {m.percentile for scaling in scaled if scaling for m in scaling.metrics if m.type == "TTFT"}

    async def _pass(self, *, scale: bool) -> None:
        self._called.clear()
        seen = Observed(
            now_s=self._world.clock.now_s(),
            tiers=self._store.tiers(),
            cascades=self._store.cascades(),
            load=self._load,
            load_taken_s=self._load_taken_s,
            source=self._source,
            heard=self._heard,
        )
        self._asleep &= set(seen.tiers)
        self._memory.forget_all_but(set(seen.tiers), set(seen.cascades))
        self._instruments.keep_only(
            tiers=seen.tiers.keys(),
            steps={(*name, step.name) for name, chat in seen.cascades.items() for step in chat.spec.tiers},
        )
        known = frozenset(self._memory.tiers)
        fleet = snapshot(seen, self._world.view, self._memory)
        decided = plan(fleet)
        # Weights first: a request that starts at a dead tier hurts now, a replica takes a while anyway.
        await self._each(
            self._weigh(name, cascade, fleet, decided, seen) for name, cascade in seen.cascades.items()
        )
        await self._each(
            self._scale(name, tier, fleet, decided)
            for name, tier in seen.tiers.items()
            if scale or name not in known or name in seen.heard.woken
        )
        for name, load in seen.load.tiers.items():
            if name in seen.tiers and load.age_s is not None:
                age_s = load.age_s + seen.now_s - seen.load_taken_s
                self._instruments.metrics_age.labels(*name).set(age_s)

    async def _each(self, acts: Iterable[Awaitable[None]]) -> None:
        for err in await asyncio.gather(*acts, return_exceptions=True):
            if isinstance(err, Exception):  # a bug met at one object must not cost the others their decisions
                _LOG.error("decision not carried out", exc_info=err)

    async def _scale(self, name: Name, tier: ModelTier, fleet: FleetSnapshot, decided: Plan) -> None:
        """Write one tier's verdict.  What was not stored has not happened: the next tick decides again."""
        verdict, snap = decided.tiers.get(name), fleet.tiers.get(name)
        before = snap.replicas if snap else 0
        told = facts(snap) if snap else ""
        blind = verdict is not None and verdict.reason in _BLIND
        wanted = capacity_status.tier_status(
            tier,
            verdict,
            before=before,
            facts=told,
            now_s=fleet.now_s,
            first_blind_tick=blind and self._memory.tiers[name].blind_ticks == 0,
            answers=snap is not None and snap.sleep is not None and snap.sleep.answers,
        )
        if not await self._write(Key("ModelTier", *name), tier, wanted) or verdict is None or snap is None:
            return
        self._remember_tier(name, snap, verdict, fleet.now_s)
        self._remember_sleep(name, snap, verdict)
        self._instruments.desired_replicas.labels(*name).set(verdict.replicas)
        self._instruments.ready_replicas.labels(*name).set(snap.replicas_ready)
        by = verdict.replicas - before
        direction = "up" if by > 0 else "down" if by < 0 else "none"
        self._instruments.scale_decisions.labels(*name, direction, verdict.reason).inc()
        if by:
            _LOG.info(
                "scaled", tier="/".join(name), before=before, after=verdict.replicas, reason=verdict.reason
            )
            message = f"{before} -> {verdict.replicas}: {verdict.reason}: {verdict.message} ({told})"
            await self._tell(
                Key("ModelTier", *name), reason="ScaledUp" if by > 0 else "ScaledDown", message=message
            )

    def _remember_tier(self, name: Name, snap: TierSnapshot, verdict: Verdict, now_s: float) -> None:
        past, memory_s = self._memory.tiers[name], snap.behavior.memory_s
        past.wishes = remember_wish(past.wishes, Wish(now_s, verdict.wish), memory_s=memory_s)
        change = Change(now_s, verdict.replicas - snap.replicas)
        past.changes = remember_change(past.changes, change, memory_s=memory_s)
        past.blind_ticks = past.blind_ticks + 1 if verdict.reason in _BLIND else 0

    def _remember_sleep(self, name: Name, snap: TierSnapshot, verdict: Verdict) -> None:
        if (
            snap.sleep is not None and snap.sleep.wanted
        ):  # else a call that came since is still to be answered
            self._heard = replace(self._heard, woken=self._heard.woken - {name})
        if snap.sleep is not None and verdict.replicas == 0 and snap.routed:
            self._asleep.add(name)
        else:
            self._asleep.discard(name)

    async def _weigh(
        self, name: Name, cascade: Cascade, fleet: FleetSnapshot, decided: Plan, seen: Observed
    ) -> None:
        """Write one Cascade's verdict."""
        verdict, before = decided.cascades[name], fleet.cascades[name].weights
        asked = seen.source == "Answers"
        wanted = capacity_status.cascade_status(
            cascade,
            verdict,
            before=before,
            started=seen.load.started.get(name, {}) if asked else None,
            answered=seen.load.answered.get(name, {}) if asked else None,
            now_s=fleet.now_s,
        )
        if not await self._write(Key("Cascade", *name), cascade, wanted):
            return
        self._remember_cascade(name, cascade, verdict, fleet.now_s)
        for step, weight in verdict.weights.items():
            self._instruments.weight_permille.labels(*name, step).set(weight)
        if before is None or dict(before) != dict(verdict.weights):
            moves = capacity_status.moves([tier.name for tier in cascade.spec.tiers], before, verdict.weights)
            self._instruments.weight_changes.labels(*name, verdict.reason).inc()
            _LOG.info("weights changed", cascade="/".join(name), reason=verdict.reason, moves=moves)
            message = f"{moves}: {verdict.reason}: {verdict.message}"
            await self._tell(Key("Cascade", *name), reason="WeightsChanged", message=message)

    def _remember_cascade(self, name: Name, cascade: Cascade, verdict: WeightsVerdict, now_s: float) -> None:
        past = self._memory.cascades[name]
        past.out = verdict.out
        past.weights_spec = weights_spec(cascade)
        if verdict.stepped:
            past.stepped_at_s = now_s

    async def _write(self, key: Key, thing: ModelTier | Cascade, wanted: Manifest) -> bool:
        """Store the status where it differs.  False: it could not be stored."""
        if not capacity_status.changed(wanted, thing):
            return True
        try:
            async with self._writing:
                stored = await self._world.cluster.apply_status(
                    key, wanted, manager=names.FIELD_MANAGER_CAPACITY
                )
        except ClusterError as err:
            _LOG.warning("status not written", object="/".join(key), error=str(err))
            return False
        self._store.wrote(key, stored)
        return True

    async def _tell(self, key: Key, *, reason: str, message: str) -> None:
        """Post an Event; losing one is no reason to decide otherwise."""
        regarding = self._store.manifest(key)
        if regarding is None:
            return
        try:
            await self._world.events.record(regarding, reason=reason, message=message)
        except ClusterError as err:
            _LOG.warning("event not posted", object="/".join(key), error=str(err))


def _log_invalid(key: Key, err: ValueError) -> None:
    _LOG.warning("object cannot be read", object="/".join(key), error=str(err))
