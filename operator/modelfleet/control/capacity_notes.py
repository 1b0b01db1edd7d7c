"""Keeps what was learned, and the last decision, in a ConfigMap of each Cascade that owns a plan.

Read once, when the Cascade is first planned; written at most once in five minutes, and when this operator stops.  A
ConfigMap of that name which is not the Cascade's is left alone.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.control.ports import Clock, Cluster, Key
from modelfleet.diff.changes import controlled_by
from modelfleet.errors import ClusterError
from modelfleet.plan import learned, record
from modelfleet.plan.fleet import Planned
from modelfleet.plan.learned import Learned
from modelfleet.plan.snapshot import Name

WRITE_EVERY_S = 300.0
_FLUSH_S_MAX = 3.0  # a stopping operator gives its lease away soon
_LOG = structlog.get_logger("modelfleet.capacity")


@dataclass(slots=True)
class Notes:
    """The ConfigMaps of all owners."""

    cluster: Cluster
    clock: Clock
    _written_s: dict[Name, float] = field(default_factory=dict)
    _unwritten: dict[Name, tuple[Cascade, Learned, Planned]] = field(default_factory=dict)
    _foreign: set[Name] = field(default_factory=set)

    async def read(self, name: Name, cascade: Cascade) -> Learned:
        """What was learned of its plan; nothing where nobody wrote, or what was written cannot be read.

        Raises ClusterError.
        """
        item = await self.cluster.get(_key(name))
        self._written_s[name] = self.clock.now_s() if item is not None else 0.0
        if item is None:
            return Learned()
        if not controlled_by(cascade.metadata.uid)(item):
            self._foreign.add(name)
            _LOG.warning("a plan is not kept: its ConfigMap is not ours", configmap="/".join(_key(name)[1:]))
            return Learned()
        try:
            return learned.decode(item.get("data", {})[names.PLAN_LEARNED_KEY])
        except (KeyError, ValueError) as err:
            _LOG.warning("a plan starts afresh", cascade="/".join(name), error=str(err))
            return Learned()

    def keep(self, name: Name, cascade: Cascade, known: Learned, planned: Planned) -> None:
        """Take down what is to be written next."""
        if name not in self._foreign:
            self._unwritten[name] = (cascade, known, planned)

    def due(self, name: Name) -> bool:
        """Whether it is time to write again."""
        return (
            name not in self._foreign and self.clock.now_s() - self._written_s.get(name, 0.0) >= WRITE_EVERY_S
        )

    async def write(self, only: Name | None = None) -> None:
        """Write all that was taken down, or what is of one Cascade.  What cannot be written waits for the next time."""
        for name in [only] if only is not None else sorted(self._unwritten):
            cascade, known, planned = self._unwritten[name]
            data = {
                names.PLAN_LEARNED_KEY: learned.encode(known),
                names.PLAN_DECISION_KEY: record.encode(record.of(planned)),
            }
            try:
                await self.cluster.apply(_manifest(name, cascade, data), manager=names.FIELD_MANAGER_CAPACITY)
            except ClusterError as err:
                _LOG.warning("what was learned is not kept", cascade="/".join(name), error=str(err))
                continue
            self._written_s[name] = self.clock.now_s()
            del self._unwritten[name]

    async def hand_over(self) -> None:
        """Write before another operator takes over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S_MAX):
                await self.write()

    def forget_all_but(self, owners: set[Name]) -> None:
        """Drop what is about Cascades that own no plan any more."""
        self._written_s = {name: at_s for name, at_s in self._written_s.items() if name in owners}
        self._unwritten = {name: what for name, what in self._unwritten.items() if name in owners}
        self._foreign &= owners


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
