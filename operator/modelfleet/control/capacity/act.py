"""Writes what was decided: status and Events of each object, and what to remember of it.  Acts, decides nothing.

What could not be stored has not happened: nothing is remembered of it, and the next pass decides again.
"""

import asyncio
import math
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.capacity.cascade_status import cascade_status, moves
from modelfleet.control.capacity.memory import Memory, Store, weights_spec
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.capacity.observe import Observed
from modelfleet.control.capacity.plan import Outcome
from modelfleet.control.capacity.status import changed
from modelfleet.control.capacity.tier_status import tier_status
from modelfleet.control.ports import Cluster, Events, Key
from modelfleet.errors import ClusterError
from modelfleet.plan.facts import facts
from modelfleet.plan.fleet import Plan
from modelfleet.plan.learned import Start
from modelfleet.plan.pools import units
from modelfleet.plan.rules import Verdict
from modelfleet.plan.scale import remember_change, remember_wish
from modelfleet.plan.snapshot import Change, FleetSnapshot, Name, TierSnapshot, Wish
from modelfleet.plan.weights import WeightsVerdict
from modelfleet.plan.within_budget import Account

_LOG = structlog.get_logger("modelfleet.capacity")
_WRITES_AT_ONCE = 8
_HOUR_S = 3600.0
_LOST = frozenset({"MetricsStale", "Fallback"})


@dataclass(frozen=True, slots=True)
class Pass:
    """What was seen in one pass, and what was decided."""

    seen: Observed
    fleet: FleetSnapshot
    plan: Plan
    outcomes: Mapping[Name, Outcome]
    started: Mapping[Name, Sequence[Start]] = field(default_factory=dict)  # pods that answer, the newest last
    accounts: Mapping[Name, Account] = field(default_factory=dict)  # of Cascades with a budget


class Hand:
    """Carries out one pass after the other."""

    def __init__(
        self, cluster: Cluster, events: Events, *, store: Store, memory: Memory, instruments: CapacityMetrics
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._store = store
        self._memory = memory
        self._instruments = instruments
        self._writing = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._began_s = math.inf  # the first pass

    async def carry_out(self, now: Pass, *, tiers: Iterable[Name]) -> None:
        """Write all weights, and the replicas of these tiers."""
        self._began_s = min(self._began_s, now.fleet.now_s)
        # Weights first: a request that starts at a dead tier hurts now, a replica takes a while anyway.
        await self._each(self._weigh(name, cascade, now) for name, cascade in now.seen.cascades.items())
        await self._each(self._scale(name, now.seen.tiers[name], now) for name in tiers)
        pools = now.fleet.pools
        self._instruments.controls.show_pools(units(now.plan.tiers, now.fleet.tiers, pools), pools)

    async def _each(self, acts: Iterable[Awaitable[None]]) -> None:
        for err in await asyncio.gather(*acts, return_exceptions=True):
            if isinstance(err, Exception):  # a bug met at one object must not cost the others their decisions
                _LOG.error("decision not carried out", exc_info=err)

    async def _scale(self, name: Name, tier: ModelTier, now: Pass) -> None:
        """Write one tier's verdict.  What was not stored has not happened: the next tick decides again."""
        verdict, snap = now.plan.tiers.get(name), now.fleet.tiers.get(name)
        before = snap.replicas if snap else 0
        told = facts(snap, now.plan.tier_plans.get(name)) if snap else ""
        blind = verdict is not None and _blind(verdict)
        wanted = tier_status(
            tier,
            verdict,
            before=before,
            facts=told,
            now_s=now.fleet.now_s,
            first_blind_tick=blind and self._memory.tiers[name].blind_ticks == 0,
            answers=snap is not None and snap.sleep is not None and snap.sleep.answers,
            start=next(reversed(now.started.get(name, ())), None),
            measured_by="Prometheus" if snap is None else snap.measured_by,
        )
        if not await self._write(Key("ModelTier", *name), tier, wanted) or verdict is None or snap is None:
            return
        self._remember_tier(name, snap, verdict, now.fleet.now_s)
        self._remember_sleep(name, snap, verdict)
        self._instruments.desired_replicas.labels(*name).set(verdict.replicas)
        self._instruments.ready_replicas.labels(*name).set(snap.replicas_ready)
        self._instruments.controls.show_plan(name, verdict.instead.replicas if verdict.instead else None)
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
        past.blind_ticks = past.blind_ticks + 1 if _blind(verdict) else 0
        lost = (verdict.instead or verdict).reason in _LOST
        past.lost_since_s = (now_s if past.lost_since_s is None else past.lost_since_s) if lost else None

    def _remember_sleep(self, name: Name, snap: TierSnapshot, verdict: Verdict) -> None:
        if snap.sleep is not None and snap.sleep.wanted:
            self._memory.woken.discard(name)  # else a call that came since is still to be answered
        if snap.sleep is not None and verdict.replicas == 0 and snap.routed:
            self._memory.asleep.add(name)
        else:
            self._memory.asleep.discard(name)

    async def _weigh(self, name: Name, cascade: Cascade, now: Pass) -> None:
        """Write one Cascade's verdict."""
        verdict, before = now.plan.cascades[name], now.fleet.cascades[name].weights
        outcome, seen = now.outcomes.get(name), now.seen
        asked = seen.source == "Answers"
        wanted = cascade_status(
            cascade,
            verdict,
            before=before,
            started=seen.load.started.get(name, {}) if asked else None,
            answered=seen.load.answered.get(name, {}) if asked else None,
            now_s=now.fleet.now_s,
            within=outcome.within if outcome else None,
            account=now.accounts.get(name),
            law=outcome.law if outcome else None,
            thresholds=now.plan.thresholds.get(name, {}),
            whole_hour=now.fleet.now_s - self._began_s >= _HOUR_S,
        )
        if not await self._write(Key("Cascade", *name), cascade, wanted):
            return
        self._remember_cascade(name, cascade, verdict, now.fleet.now_s)
        await self._tell_of_money(name, cascade, now.accounts.get(name))
        for step, weight in verdict.weights.items():
            self._instruments.weight_permille.labels(*name, step).set(weight)
        chosen = now.plan.thresholds.get(name, {})
        self._instruments.controls.show_thresholds(name, {step: one.value for step, one in chosen.items()})
        if before is None or dict(before) != dict(verdict.weights):
            moved = moves([tier.name for tier in cascade.spec.tiers], before, verdict.weights)
            self._instruments.weight_changes.labels(*name, verdict.reason).inc()
            _LOG.info("weights changed", cascade="/".join(name), reason=verdict.reason, moves=moved)
            message = f"{moved}: {verdict.reason}: {verdict.message}"
            await self._tell(Key("Cascade", *name), reason="WeightsChanged", message=message)

    async def _tell_of_money(self, name: Name, cascade: Cascade, account: Account | None) -> None:
        was = cascade.status.cost is not None and cascade.status.cost.exhausted
        if account is None or cascade.spec.budget is None or account.standing.exhausted == was:
            return
        if was:
            reason, message = "BudgetRenewed", f"There is money again: {account.standing.message}"
        else:
            reason, message = "BudgetExhausted", account.standing.message
        _LOG.info("budget", cascade="/".join(name), reason=reason, spent_usd=round(account.ledger.total, 4))
        await self._tell(Key("Cascade", *name), reason=reason, message=message, warning=not was)

    def _remember_cascade(self, name: Name, cascade: Cascade, verdict: WeightsVerdict, now_s: float) -> None:
        past = self._memory.cascades[name]
        past.out = verdict.out
        past.weights_spec = weights_spec(cascade)
        if verdict.stepped:
            past.stepped_at_s = now_s

    async def _write(self, key: Key, thing: ModelTier | Cascade, wanted: Manifest) -> bool:
        """Store the status where it differs.  False: it could not be stored."""
        if not changed(wanted, thing):
            return True
        try:
            async with self._writing:
                stored = await self._cluster.apply_status(key, wanted, manager=names.FIELD_MANAGER_CAPACITY)
        except ClusterError as err:
            _LOG.warning("status not written", object="/".join(key), error=str(err))
            return False
        self._store.wrote(key, stored)
        return True

    async def _tell(self, key: Key, *, reason: str, message: str, warning: bool = False) -> None:
        """Post an Event; losing one is no reason to decide otherwise."""
        regarding = self._store.manifest(key)
        if regarding is None:
            return
        try:
            await self._events.record(regarding, reason=reason, message=message, warning=warning)
        except ClusterError as err:
            _LOG.warning("event not posted", object="/".join(key), error=str(err))


def _blind(verdict: Verdict) -> bool:
    return verdict.reason in _LOST or bool(verdict.unread)
