"""The part of a pass that is about budgets: what runs and was counted, written into each Cascade's ledger."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.capacity.memory import Memory
from modelfleet.control.capacity.notes import Notes
from modelfleet.control.ports import Reports, View
from modelfleet.diff.pods import pod_ready
from modelfleet.errors import ClusterError
from modelfleet.plan import spending
from modelfleet.plan.prices import replica_hour_usd
from modelfleet.plan.snapshot import Name
from modelfleet.plan.spending import Charge, Counted, Ledger
from modelfleet.plan.within_budget import Account, stand

_NOTES_MAX = 50  # written after one look; those that are left are due after the next
_LOG = structlog.get_logger("modelfleet.capacity")

Tiers = Mapping[Name, ModelTier]
Cascades = Mapping[Name, Cascade]


@dataclass(slots=True)
class Budgets:
    """The accounts of all Cascades with a budget."""

    view: View
    reports: Reports
    memory: Memory
    notes: Notes
    settings: Callable[[], FleetSettings]
    _counted: dict[str, dict[str, Counted]] = field(default_factory=dict)  # by namespace and router pod
    _silent: set[str] = field(default_factory=set)  # namespaces of which not every router answered

    async def hear(self, cascades: Cascades) -> None:
        """Ask all routers of namespaces with a budget what they have counted."""
        wanted = {name.namespace for name, cascade in cascades.items() if cascade.spec.budget is not None}
        pods = list(self._routers(wanted)) if wanted else []
        told = await self.reports.counted([address for _, _, address in pods]) if pods else {}
        found: dict[str, dict[str, Counted]] = defaultdict(dict)
        for namespace, pod, address in pods:
            if address in told:
                found[namespace][pod] = told[address]
        self._counted = found
        self._silent = {namespace for namespace, _, address in pods if address not in told}

    async def take(self, cascades: Cascades, tiers: Tiers, *, now_s: float) -> None:
        """Write all ledgers forward until now.  What cannot be recalled waits for the next look."""
        ledgers = await self._recalled(cascades)
        self.memory.accounts = {name: one for name, one in self.memory.accounts.items() if name in ledgers}
        if not ledgers:
            return
        running = _running(self.view, tiers)
        users = Counter(tier for name, cascade in cascades.items() for tier in _named(name, cascade))
        for name, ledger in ledgers.items():
            cascade = cascades[name]
            with _apart(name):
                charges = tuple(self._charges(_named(name, cascade), tiers, running, users))
                written = self._written(name, cascade, ledger, charges, now_s=now_s)
                self._account(name, cascade, tiers, written, charges)

    def judge(self, cascades: Cascades, tiers: Tiers) -> None:
        """Judge the ledgers as they are by what the objects say now."""
        for name, known in list(self.memory.accounts.items()):
            cascade = cascades.get(name)
            if cascade is None or cascade.spec.budget is None:
                del self.memory.accounts[name]
            else:
                with _apart(name):
                    self._account(name, cascade, tiers, known.ledger, known.charges)

    def _written(
        self, name: Name, cascade: Cascade, ledger: Ledger, charges: Sequence[Charge], *, now_s: float
    ) -> Ledger:
        assert cascade.spec.budget is not None
        counted = self._counted.get(name.namespace, {})
        told = {pod: one.told(name.name, charges) for pod, one in counted.items()}
        complete = name.namespace not in self._silent
        return spending.after(ledger, cascade.spec.budget.window, charges, told, now_s, complete=complete)

    async def remember(self) -> None:
        """Keep what is due where a restart finds it."""
        due = [name for name in self.memory.accounts if self.notes.due(name)]
        for name in due[:_NOTES_MAX]:
            await self.notes.write(name)

    def _account(
        self, name: Name, cascade: Cascade, tiers: Tiers, ledger: Ledger, charges: tuple[Charge, ...]
    ) -> None:
        budget, settings = cascade.spec.budget, self.settings()
        assert budget is not None
        unpriced = list(_unpriced(name, cascade, tiers, settings))
        standing, ledger = stand(ledger, budget, charges, unpriced=unpriced, shown=_shown(cascade))
        self.memory.accounts[name] = Account(ledger, charges, standing)
        self.notes.keep_ledger(name, cascade, ledger)

    async def _recalled(self, cascades: Cascades) -> dict[Name, Ledger]:
        found = {}
        for name, cascade in cascades.items():
            if cascade.spec.budget is None:
                continue
            known = self.memory.accounts.get(name)
            try:
                found[name] = known.ledger if known else await self.notes.read_ledger(name, cascade)
            except ClusterError as err:
                # Begun afresh it would forget what was spent.
                _LOG.warning("what was spent cannot be read", cascade="/".join(name), error=str(err))
        return found

    def _routers(self, namespaces: set[str]) -> Iterator[tuple[str, str, str]]:
        """Namespace, name and address of router pods; those on their way out have something to tell, too."""
        for pod in self.view.list("Pod"):
            meta, status = pod["metadata"], pod.get("status") or {}
            is_router = names.LABEL_ROUTER in (meta.get("labels") or {})
            if (
                is_router
                and meta.get("namespace", "") in namespaces
                and status.get("podIP")
                and not _ended(pod)
            ):
                yield meta["namespace"], meta["name"], status["podIP"]

    def _charges(
        self, named: Sequence[Name], tiers: Tiers, running: Mapping[Name, int], users: Mapping[Name, int]
    ) -> Iterator[Charge]:
        settings = self.settings()
        for name in named:
            if (tier := tiers.get(name)) is not None:
                replicas = running.get(name, 0)
                price = None if tier.spec.external else replica_hour_usd(tier, settings)
                by_token = tier.spec.external is not None
                yield Charge(
                    name.name, price or 0.0, replicas, _least(tier, replicas), users[name], by_token=by_token
                )


@contextmanager
def _apart(name: Name) -> Iterator[None]:
    """A bug that one ledger meets must cost neither the others theirs nor anybody replicas."""
    try:
        yield
    except Exception:  # noqa: BLE001  whatever it is
        _LOG.exception("budget not counted", cascade="/".join(name))


def _named(name: Name, cascade: Cascade) -> list[Name]:
    """The ModelTiers of a Cascade, each once; none where it is in no route table."""
    if any(each.type == "Accepted" and each.status == "False" for each in cascade.status.conditions):
        return []
    return list(dict.fromkeys(Name(name.namespace, step.tier_ref.name) for step in cascade.spec.tiers))


def _least(tier: ModelTier, replicas: int) -> int:
    """Replicas that run whatever is asked of the tier."""
    if tier.spec.external is not None or tier.spec.suspend:
        return 0
    pinned = pins.replicas(tier.metadata.annotations).replicas
    if pinned is not None:
        return pinned
    scaling = tier.spec.scaling
    untouched = tier.spec.existing is not None and (scaling is None or scaling.mode == "Observe")
    if tier.metadata.paused or untouched:
        return replicas
    return tier.spec.replicas if scaling is None else scaling.min_replicas


def _running(view: View, tiers: Tiers) -> Counter[Name]:
    """Pods that have a place on a node, and so cost: those that load or stop, too."""
    owners = {(name.namespace, names.tier_child(name.name)): name for name in tiers}
    found: Counter[Name] = Counter()
    for pod in view.list("Pod"):
        child = (pod["metadata"].get("labels") or {}).get(names.LABEL_TIER)
        owner = owners.get((pod["metadata"].get("namespace", ""), child)) if child else None
        if owner is not None and not _ended(pod) and _placed(pod):
            found[owner] += 1
    return found


def _ended(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _placed(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    scheduled = any(
        each["type"] == "PodScheduled" and each["status"] == "True" for each in status.get("conditions") or ()
    )
    return scheduled or pod_ready(pod) or status.get("phase") == "Running"


def _unpriced(name: Name, cascade: Cascade, tiers: Tiers, settings: FleetSettings) -> Iterator[str]:
    """The tiers that cost what nobody tells, and what would tell it."""
    for tier_name in _named(name, cascade):
        tier = tiers.get(tier_name)
        if tier is None:
            continue
        price = tier.spec.price
        if tier.spec.external is not None and (price is None or price.input_per_million_tokens is None):
            yield f"{tier_name.name} (give its spec.price)"
        elif tier.spec.external is None and replica_hour_usd(tier, settings) is None:
            yield f"{tier_name.name} (give spec.price.perReplicaHour, or its node pool a pricePerHour)"


def _shown(cascade: Cascade) -> str:
    """What was said last, with its reason before it."""
    said: Sequence[str] = [
        f"{each.reason}: {each.message}" for each in cascade.status.conditions if each.type == "WithinBudget"
    ]
    return next(iter(said), "")
