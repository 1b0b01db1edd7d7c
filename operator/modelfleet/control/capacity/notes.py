"""Keeps what was learned, the last decision and what was spent, in a ConfigMap of each Cascade that has any of these.

Read once, when the Cascade is first planned; written at most once in five minutes, and when this operator stops.  A
ConfigMap of that name which is not the Cascade's is left alone.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.control.ports import Clock, Cluster, Key
from modelfleet.diff.changes import controlled_by
from modelfleet.errors import ClusterError
from modelfleet.plan import learned, record, spending
from modelfleet.plan.fleet import Planned
from modelfleet.plan.learned import Learned
from modelfleet.plan.snapshot import Name
from modelfleet.plan.spending import Ledger

WRITE_EVERY_S = 300.0
_FLUSH_S_MAX = 3.0  # a stopping operator gives its lease away soon
_WRITE_S_MAX = 1.0
_WRITES_AT_ONCE = 16
_LOG = structlog.get_logger("modelfleet.capacity")

Encoded = Callable[[], str]  # asked for when it is written, which is seldom
Part = TypeVar("Part")


@dataclass(slots=True)
class Notes:
    """The ConfigMaps of all owners."""

    cluster: Cluster
    clock: Clock
    _written_s: dict[Name, float] = field(default_factory=dict)
    _stored: dict[Name, Mapping[str, str]] = field(default_factory=dict)  # what each holds, by key
    _unwritten: dict[Name, tuple[Cascade, Mapping[str, Encoded]]] = field(default_factory=dict)
    _foreign: set[Name] = field(default_factory=set)

    async def read(self, name: Name, cascade: Cascade) -> Learned:
        """What was learned of its plan; nothing where nobody wrote, or what was written cannot be read.

        Raises ClusterError.
        """
        return await self._read(name, cascade, names.PLAN_LEARNED_KEY, learned.decode) or Learned()

    async def read_ledger(self, name: Name, cascade: Cascade) -> Ledger:
        """What it has spent; a ledger that begins where nobody wrote, or what was written cannot be read.

        Raises ClusterError.
        """
        return await self._read(name, cascade, names.PLAN_BUDGET_KEY, spending.decode) or Ledger()

    def keep(self, name: Name, cascade: Cascade, known: Learned, planned: Planned) -> None:
        """Take down what is to be written next of its plan."""
        self._keep(name, cascade, {
            names.PLAN_LEARNED_KEY: lambda: learned.encode(known),
            names.PLAN_DECISION_KEY: lambda: record.encode(record.of(planned)),
        })  # fmt: skip

    def keep_ledger(self, name: Name, cascade: Cascade, ledger: Ledger) -> None:
        """Take down what is to be written next of its spending."""
        self._keep(name, cascade, {names.PLAN_BUDGET_KEY: lambda: spending.encode(ledger)})

    def _keep(self, name: Name, cascade: Cascade, parts: Mapping[str, Encoded]) -> None:
        if name not in self._foreign:
            _, before = self._unwritten.get(name, (cascade, {}))
            self._unwritten[name] = cascade, {**before, **parts}

    def due(self, name: Name) -> bool:
        """Whether it is time to write again."""
        return (
            name not in self._foreign and self.clock.now_s() - self._written_s.get(name, 0.0) >= WRITE_EVERY_S
        )

    async def write(self, only: Name | None = None) -> None:
        """Write all that was taken down, or what is of one Cascade.  What cannot be written waits for the next time."""
        if only is not None:
            await self._write(only)
            return
        places = asyncio.Semaphore(_WRITES_AT_ONCE)
        owners = sorted(self._unwritten)
        ends = await asyncio.gather(*(self._within(places, name) for name in owners), return_exceptions=True)
        for name, end in zip(owners, ends, strict=True):
            if isinstance(
                end, Exception
            ):  # a bug in one plan, or a server that hangs, costs the others nothing
                _LOG.error("what was learned is not kept", cascade="/".join(name), exc_info=end)

    async def _within(self, places: asyncio.Semaphore, name: Name) -> None:
        async with places, asyncio.timeout(_WRITE_S_MAX):
            await self._write(name)

    async def _write(self, name: Name) -> None:
        cascade, parts = self._unwritten[name]
        # With what stands there already: of a manager's fields those go that it does not send.
        data = {**self._stored.get(name, {}), **_encoded(name, parts)}
        try:
            await self.cluster.apply(_manifest(name, cascade, data), manager=names.FIELD_MANAGER_CAPACITY)
        except ClusterError as err:
            _LOG.warning("what was learned is not kept", cascade="/".join(name), error=str(err))
            return
        self._written_s[name], self._stored[name] = self.clock.now_s(), data
        del self._unwritten[name]

    async def _read(
        self, name: Name, cascade: Cascade, key: str, decoded: Callable[[str], Part]
    ) -> Part | None:
        if name not in self._stored:
            await self._look(name, cascade)
        text = self._stored[name].get(key)
        try:
            return None if text is None else decoded(text)
        except ValueError as err:
            _LOG.warning("a part of a plan starts afresh", cascade="/".join(name), part=key, error=str(err))
            return None

    async def _look(self, name: Name, cascade: Cascade) -> None:
        item = await self.cluster.get(_key(name))
        self._written_s[name], self._stored[name] = 0.0 if item is None else self.clock.now_s(), {}
        if item is not None and controlled_by(cascade.metadata.uid)(item):
            self._stored[name] = item.get("data") or {}
        elif item is not None:
            self._foreign.add(name)
            _LOG.warning("a plan is not kept: its ConfigMap is not ours", configmap="/".join(_key(name)[1:]))

    async def hand_over(self) -> None:
        """Write before another operator takes over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S_MAX):
                await self.write()

    def forget_all_but(self, owners: set[Name]) -> None:
        """Drop what is about Cascades that own no plan any more, and have no budget."""
        self._written_s = {name: at_s for name, at_s in self._written_s.items() if name in owners}
        self._stored = {name: data for name, data in self._stored.items() if name in owners}
        self._unwritten = {name: what for name, what in self._unwritten.items() if name in owners}
        self._foreign &= owners


def _encoded(name: Name, parts: Mapping[str, Encoded]) -> Mapping[str, str]:
    """The parts as text; one that cannot be told stays as it stands."""
    found = {}
    for key, encoded in parts.items():
        try:
            found[key] = encoded()
        except Exception:  # noqa: BLE001  a bug in one part is no reason to lose the others
            _LOG.exception("a part of a plan is not kept", cascade="/".join(name), part=key)
    return found


def _key(name: Name) -> Key:
    return Key("ConfigMap", name.namespace, names.plan_notes(name.name))


def _manifest(name: Name, cascade: Cascade, data: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.plan_notes(name.name),
            "namespace": name.namespace,
            # Not the label that children carry: no watch has to deliver what only its writer reads.
            "labels": {names.LABEL_PART_OF: names.MANAGER, names.LABEL_COMPONENT: "plan"},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "Cascade",
                    "name": name.name,
                    "uid": cascade.metadata.uid,
                    "controller": True,
                }
            ],
        },
        "data": dict(data),
    }
