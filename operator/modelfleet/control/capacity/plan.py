"""The part of a pass that is about plans: who is planned together, what is seen of them, what stays of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.capacity.cascade_status import shown_law
from modelfleet.control.capacity.look import Sight, Starting, look_at, shown_by
from modelfleet.control.capacity.memory import Memory
from modelfleet.control.capacity.notes import Notes
from modelfleet.control.capacity.observe import Observed, Pods
from modelfleet.control.ports import View
from modelfleet.errors import ClusterError
from modelfleet.plan import demand, planner, publish
from modelfleet.plan.fleet import Planned, Planning
from modelfleet.plan.group import Group, groups, unplanned
from modelfleet.plan.joint import Bound
from modelfleet.plan.learned import Shown, after_silence, state_of, with_start
from modelfleet.plan.load import MEANS_S, TierLoad
from modelfleet.plan.publish import Law
from modelfleet.plan.service_level import WithinSlo, judge
from modelfleet.plan.snapshot import FleetSnapshot, Name

# 95 of 100 are to keep each objective.  Over an hour, with both of them and misses of every other cause, that needs
# room.
GOAL = 0.97
_SILENCE_S = 60.0  # without a look; an operator that is replaced is away for less
_NOTES_MAX = 50  # written after one look; those that are left are due after the next
_LOG = structlog.get_logger("modelfleet.capacity")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan means for one of its Cascades.  `law`: what its routers are told."""

    within: WithinSlo
    law: Law


@dataclass(frozen=True, slots=True)
class Planners:
    """Makes plannings from what is seen, and keeps what was learned in memory."""

    view: View
    memory: Memory
    notes: Notes
    settings: Callable[[], FleetSettings]
    look_s: Callable[[], float]

    def told(self, fleet: FleetSnapshot, seen: Observed) -> tuple[FleetSnapshot, list[Group]]:
        """The snapshot with the reasons why tiers are not planned, and the groups that are."""
        found, settings = groups(seen.cascades, seen.tiers), self.settings()
        planned = {tier for group in found for tier in group.tiers}
        tiers = {
            name: replace(snap, unplanned=unplanned(name, seen.tiers[name], planned, settings))
            for name, snap in fleet.tiers.items()
        }
        return replace(fleet, tiers=tiers), found

    async def _recalled(self, found: Sequence[Group], seen: Observed) -> list[Group]:
        """Read what was learned of groups that are planned for the first time; those whose notes can be read."""
        owners = {group.owner for group in found}
        before = self.memory.learned
        self.memory.learned = {name: past for name, past in before.items() if name in owners}
        self.notes.forget_all_but(owners | self.memory.accounts.keys())
        for group in found:
            owner = group.owner
            if owner in self.memory.learned:
                continue
            try:
                read = await self.notes.read(owner, seen.cascades[owner])
            except ClusterError as err:
                # Planned without its past, a tier might shrink that should not: it waits for the next look.
                _LOG.warning("what was learned cannot be read", cascade="/".join(owner), error=str(err))
                continue
            # One that has joined others, and owns their plan now, goes on with what theirs has learned.
            theirs = next((before[name] for name in group.cascades if name in before), None)
            self.memory.learned[owner] = theirs or read
        return [group for group in found if group.owner in self.memory.learned]

    async def plannings(
        self, fleet: FleetSnapshot, seen: Observed, found: Sequence[Group], pods: Starting
    ) -> list[Planning]:
        """What is seen of each group.  Starts of pods that have come to answer are learned on the way."""
        recalled = await self._recalled(found, seen)
        settings = self.settings()
        sight = Sight(
            seen=seen,
            fleet=fleet,
            view=self.view,
            pods=Pods(self.view),
            starting=pods,
            settings=settings,
            look_s=self.look_s(),
        )
        made = []
        for group in recalled:
            with _apart(group):
                made.append(self._planning(group, sight))
        return made

    def outcomes(self, planned: Sequence[Planned], seen: Observed) -> dict[Name, Outcome]:
        """What to say of each Cascade that was planned."""
        found: dict[Name, Outcome] = {}
        for one in planned:
            with _apart(one.planning.group):
                found |= _outcomes(one, seen)
        return found

    def asked(self, planned: Sequence[Planned], fleet: FleetSnapshot) -> dict[Name, int]:
        """Replicas that plans ask for, by tier; of tiers with metrics of their own, what they would if they had none."""
        found: dict[Name, int] = {}
        for one in planned:
            with _apart(one.planning.group):
                found |= _asked(one, fleet)
        return found

    async def remember(self, planned: Sequence[Planned], seen: Observed) -> None:
        """Keep what each plan has learned: here, and now and then where a restart finds it."""
        for one in planned:
            with _apart(one.planning.group):
                self._learn(one, seen)
        due = [one.planning.group for one in planned if self.notes.due(one.planning.group.owner)]
        for group in due[:_NOTES_MAX]:
            with _apart(group):
                await self.notes.write(group.owner)

    def _learn(self, one: Planned, seen: Observed) -> None:
        group, look = one.planning.group, one.planning.look
        known = self.memory.learned[group.owner]
        now = replace(known, state=one.state, tiers=tuple(tier.name for tier in group.tiers))
        # A look that found nothing is none: what the load asked for in an outage nobody has seen.
        if look.complete:
            # Its own answers alone: what a neighbour lends while there are none is not what it was like.
            shown = {
                tier.name: shown_by(
                    seen.load.tiers.get(tier, TierLoad()), known.shown.get(tier.name, Shown())
                )
                for tier in group.tiers
            }
            now = replace(now, shown=shown, at_s=look.now_s)
        self.memory.learned[group.owner] = now
        self.notes.keep(group.owner, seen.cascades[group.owner], now, one)

    def _bounds(self, group: Group) -> tuple[Bound, ...]:
        """What budgets allow replicas of these tiers to cost."""
        tiers = [tier.name for tier in group.tiers]
        accounts = (self.memory.accounts.get(name) for name in group.cascades)
        return tuple(account.bound(tiers) for account in accounts if account is not None)

    def _planning(self, group: Group, sight: Sight) -> Planning:
        learned = self.memory.learned[group.owner]
        for tier in group.tiers:
            for start in sight.starting.started.get(tier, ()):
                learned = with_start(learned, tier.name, start)
        self.memory.learned[group.owner] = learned
        look = replace(look_at(group, sight, learned), bounds=self._bounds(group))
        state = state_of(learned, [tier.name for tier in group.tiers])
        # After a long silence the past that the source still knows is nearer than the one that was learned.
        gap_s = look.now_s - learned.at_s
        if look.complete and (not state.rates_rps or gap_s > MEANS_S):
            rates = demand.past_rates(look.counts, interval_s=look.interval_s, look_s=look.look_s)
            state = replace(state, rates_rps=rates)
        if gap_s > _SILENCE_S:
            state = after_silence(state, look)
        return Planning(
            group,
            look,
            state,
            # What comes to a tier that sleeps wakes it: nobody carries that meanwhile.
            planner.Settings(goal=GOAL, pooled=group.pooled and all(tier.replicas for tier in look.tiers)),
        )


def _rate(seen: Observed, cascade: Name) -> float:
    """Requests of one Cascade lately, in any unit that all share."""
    load = seen.load.cascades.get(cascade)
    return sum(load.counts) if load is not None else 0.0


def _outcomes(one: Planned, seen: Observed) -> dict[Name, Outcome]:
    look = one.planning.look
    rates = {name: _rate(seen, name) for name in one.planning.group.cascades}
    total = sum(rates.values())
    found = {}
    for name, rate in rates.items():
        cascade = seen.cascades[name]
        part = rate / total if total else 1 / len(rates)
        within = judge(look, one.plan, one.state, cascade=cascade)
        found[name] = Outcome(within, publish.law(one, name, cascade, part=part, shown=shown_law(cascade)))
    return found


def _asked(one: Planned, fleet: FleetSnapshot) -> dict[Name, int]:
    tiers, look = one.planning.group.tiers, one.planning.look
    own = [name in fleet.tiers and bool(fleet.tiers[name].targets) for name in tiers]
    found = {name: tier.free for name, tier in zip(tiers, one.plan.tiers, strict=True)}
    if any(own):
        free = [
            replace(tier, replicas_min=snap.replicas_min, replicas_max=snap.replicas_max)
            if (snap := fleet.tiers.get(name)) is not None
            else tier
            for name, tier in zip(tiers, look.tiers, strict=True)
        ]
        plan, _ = planner.plan(replace(look, tiers=free), one.planning.state, one.planning.settings)
        rows = zip(tiers, plan.tiers, own, strict=True)
        found |= {name: tier.free for name, tier, is_own in rows if is_own}
    return found


@contextmanager
def _apart(group: Group) -> Iterator[None]:
    """A bug that one plan meets must not cost the others theirs."""
    try:
        yield
    except Exception:  # noqa: BLE001  whatever it is
        _LOG.exception("planning failed", cascade="/".join(group.owner))
