"""The capacity loop: observe the load, decide with `plan/`, act by writing the decision to status.

One loop for the whole fleet on its own timer.  It writes no child: the structure loop applies what it decides.  A
change of readiness does not wait for the timer: `kick()` has the weights decided again at once, on the numbers
at hand.  Nor does a request that waits for a tier which sleeps: `wake()` has that tier decided at once.  And where a
reading between two looks shows engines that are full, `glance()` has the next look begin.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import structlog

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.capacity import controls
from modelfleet.control.capacity.act import Hand, Pass
from modelfleet.control.capacity.budget import Budgets
from modelfleet.control.capacity.idle import Heard, Listener
from modelfleet.control.capacity.look import Starting, starting
from modelfleet.control.capacity.memory import Memory, Store
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.capacity.notes import Notes
from modelfleet.control.capacity.observe import Observed, Pods, snapshot
from modelfleet.control.capacity.plan import Planners
from modelfleet.control.ports import Clock, Cluster, Events, Key, Reports, View
from modelfleet.errors import MetricsError
from modelfleet.plan import emergency, planner
from modelfleet.plan.asked import Answer
from modelfleet.plan.fleet import Plan, Planning, plan
from modelfleet.plan.load import NOTHING, FleetLoad
from modelfleet.plan.snapshot import FleetSnapshot, Name, Source

_LOG = structlog.get_logger("modelfleet.capacity")
# A burst of readiness events is one pass, and passes over a large fleet leave most of the core to others.
_GAP_S_MIN, _GAP_S_MAX = 0.1, 1.0
_GAP_PER_PASS = 4.0
SINCE_S_MAX = 600.0  # what came before a longer silence tells nothing about the present

Call = Literal["Accepted", "NotAsleep", "NotLeader"]


class Metrics(Protocol):
    """Where the load comes from."""

    async def load(self, *, since_s: float) -> FleetLoad:
        """One look, so many seconds after the last one that found something.  Raises MetricsError."""


class Queries(Protocol):
    """What users ask by themselves."""

    async def ask(self, queries: Collection[str]) -> Mapping[str, Answer]:
        """An answer to each query, if only that there is none.  Raises nothing."""


@dataclass(frozen=True, slots=True)
class World:
    """What the loop reads and writes."""

    view: View
    cluster: Cluster
    events: Events
    clock: Clock
    metrics: Metrics
    routers: Reports
    queries: Queries
    settings: Callable[[], FleetSettings] = FleetSettings


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
        self._answers: Mapping[str, Answer] = {}
        self._source: Source = "Silent"  # until the first look
        self._heard = Heard()
        self._hand = Hand(
            world.cluster, world.events, store=self._store, memory=self._memory, instruments=instruments
        )
        notes = Notes(world.cluster, world.clock)
        self._planners = Planners(world.view, self._memory, notes, world.settings, interval_s)
        self._budgets = Budgets(world.view, world.routers, self._memory, notes, world.settings)
        self._called = asyncio.Event()  # for one of them
        self._running = False
        self._kicked = asyncio.Event()
        self._hurried = asyncio.Event()

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
        elif name not in self._memory.asleep:
            outcome = "NotAsleep"
        elif name not in self._memory.woken:
            self._memory.woken.add(name)
            self._called.set()
        if outcome == "Accepted":
            self.kick()
        self._instruments.wake_calls.labels(outcome).inc()
        return outcome

    def glance(self, load: FleetLoad) -> None:
        """What a reading of now shows of queues and memory.  Call from the event loop's thread."""
        maybe = emergency.full_tiers(load, dict.fromkeys(load.tiers, 1))
        if not self._running or not maybe:
            return
        pods, tiers, now_s = Pods(self._world.view), self._store.tiers(), self._world.clock.now_s()
        ready = {
            name: len(pods.of_tier(name))
            for name in maybe
            if name in tiers and tiers[name].spec.scaling is not None
        }
        due = emergency.due(emergency.full_tiers(load, ready), self._memory.hurried_s, now_s=now_s)
        if due:
            self._memory.hurried_s |= dict.fromkeys(due, now_s)
            self._hurried.set()

    async def run(self) -> None:
        """Decide until cancelled.  Survives every error: a fleet without this loop neither grows nor sheds."""
        timer = asyncio.get_running_loop()
        self._running = True
        try:
            while True:
                due_s = timer.time() + self._interval_s()
                await self._survive(self.tick)
                await self._answer_kicks_until(self._rest(due_s - timer.time()))
        finally:
            self._running = False
            await self._planners.notes.hand_over()

    async def _rest(self, seconds: float) -> None:
        """Until the next look is due, or cannot wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._hurried.wait()

    async def tick(self) -> None:
        """One full pass: ask for the load, then decide replicas and weights."""
        self._hurried.clear()
        await self._answer_kicks_until(self._measure())
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

    async def _measure(self) -> None:
        await asyncio.gather(self._look(), self._ask())

    async def _ask(self) -> None:
        """Ask what the users ask."""
        scalings = (tier.spec.scaling for tier in self._store.tiers().values())
        metrics = (metric for scaling in scalings if scaling for metric in scaling.metrics)
        queries = {metric.query for metric in metrics if metric.type == "PromQL" and metric.query}
        self._answers = await self._world.queries.ask(queries) if queries else {}

    async def _look(self) -> None:
        """Ask for the load.  A look that fails leaves the planner without numbers, so it holds."""
        asked_s = self._world.clock.now_s()
        since_s = min(asked_s - self._load_taken_s, SINCE_S_MAX) if self._load_taken_s else self._interval_s()
        try:
            self._load = await self._world.metrics.load(since_s=since_s)
        except MetricsError as err:
            self._source = "Silent"
            _LOG.warning("metrics lost", error=str(err))
            return
        self._source = "Answers"
        self._load_taken_s = asked_s

    async def _hear(self) -> None:
        """Ask the routers of tiers that may sleep how long they had nothing to do."""
        listener = Listener(self._world.view, self._store.cascades())
        asked = listener.addresses(self._store.tiers())
        reported = await self._world.routers.quiet(asked) if asked else {}
        self._heard = Heard(reported, at_s=self._world.clock.now_s())
        await self._budgets.hear(self._store.cascades())

    async def _pass(self, *, scale: bool) -> None:
        self._called.clear()
        tiers = self._store.tiers()
        seen = Observed(
            now_s=self._world.clock.now_s(),
            tiers=tiers,
            cascades=self._store.cascades(),
            load=self._load,
            load_taken_s=self._load_taken_s,
            source=self._source,
            heard=replace(self._heard, woken=frozenset(self._memory.woken)),
            pools=controls.pools(self._world.settings(), tiers),
            answers=self._answers,
            engines_must_tell=self._world.settings().capacity.engine_metrics == "Required",
        )
        self._memory.forget_all_but(set(seen.tiers), set(seen.cascades))
        self._instruments.keep_only(
            tiers=seen.tiers.keys(),
            steps={(*name, step.name) for name, chat in seen.cascades.items() for step in chat.spec.tiers},
        )
        known = frozenset(self._memory.tiers)
        fleet = snapshot(seen, self._world.view, self._memory)
        pods, plannings = Starting(), list[Planning]()
        # A plan learns from every look, so there is one for each look, whatever else passes are about.
        if scale:
            await self._budgets.take(seen.cascades, seen.tiers, now_s=seen.now_s)
            pods = starting(self._world.view, seen.tiers, now_s=seen.now_s)
            fleet, groups = self._planners.told(fleet, seen)
            plannings = await self._planners.plannings(fleet, seen, groups, pods)
        else:
            self._budgets.judge(seen.cascades, seen.tiers)
        decided = self._timed(fleet, plannings)
        due = [name for name in seen.tiers if scale or self._unheard(name, seen, known)]
        outcomes = self._planners.outcomes(decided.planned, seen)
        await self._hand.carry_out(
            Pass(seen, fleet, decided, outcomes, pods.started, self._memory.accounts), tiers=due
        )
        self._instruments.budgets.show(self._memory.accounts)
        if scale:
            await self._planners.remember(decided.planned, seen)
            await self._budgets.remember()
            asked = self._planners.asked(decided.planned, fleet)
            self._instruments.plans.show(decided.planned, asked, pods.started)
        for name, load in seen.load.tiers.items():
            if name in seen.tiers and load.age_s is not None:
                age_s = load.age_s + seen.now_s - seen.load_taken_s
                self._instruments.metrics_age.labels(*name).set(age_s)

    def _timed(self, fleet: FleetSnapshot, plannings: Sequence[Planning]) -> Plan:
        timer = asyncio.get_running_loop()
        began_s = timer.time()
        try:
            decided = plan(fleet, plannings)
        except Exception:  # noqa: BLE001  a bug met in one plan must not cost the others theirs
            decided = plan(fleet, [one for one in plannings if _can_be_planned(one)])
        if plannings:
            self._instruments.plans.duration.observe(timer.time() - began_s)
        return decided

    def _unheard(self, name: Name, seen: Observed, known: Collection[Name]) -> bool:
        """Whether a tier cannot wait for the next look: it was called for, or is new and needs no plan."""
        scaling = seen.tiers[name].spec.scaling
        new = name not in known and (scaling is None or bool(scaling.metrics))
        return new or name in seen.heard.woken


def _can_be_planned(one: Planning) -> bool:
    try:
        planner.plan(one.look, one.state, one.settings)
    except Exception:  # noqa: BLE001  likewise; its tiers hold, and say that nothing was planned
        _LOG.exception("planning failed", cascade="/".join(one.group.owner))
        return False
    return True


def _log_invalid(key: Key, err: ValueError) -> None:
    _LOG.warning("object cannot be read", object="/".join(key), error=str(err))
