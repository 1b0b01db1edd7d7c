"""What the capacity loop remembers between two ticks, and what it starts from after a restart.

Nothing here is needed for correctness: decisions live in status.  A restarted loop starts with the replicas that
are wanted now as its only wish, so it shrinks nothing before a whole stabilization window has passed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelfleet.api import pins
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest, ObjectMeta
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.ports import Key, View
from modelfleet.plan.learned import Learned
from modelfleet.plan.snapshot import Change, Name, Wish
from modelfleet.plan.within_budget import Account


@dataclass(slots=True)
class TierMemory:
    """The past of one ModelTier."""

    wishes: tuple[Wish, ...]
    changes: tuple[Change, ...] = ()
    blind_ticks: int = 0  # in a row
    lost_since_s: float | None = None  # no metric at all could be read since then
    asked_s: float = (
        0.0  # last time that a router is known to have had a request; that router may be gone since
    )


@dataclass(slots=True)
class CascadeMemory:
    """The past of one Cascade."""

    out: frozenset[str]
    weights_spec: tuple[object, ...]  # what the last decision was made for
    stepped_at_s: float = 0.0


@dataclass(slots=True)
class Memory:
    """The past of the fleet."""

    tiers: dict[Name, TierMemory] = field(default_factory=dict)
    cascades: dict[Name, CascadeMemory] = field(default_factory=dict)
    asleep: set[Name] = field(default_factory=set)  # tiers that a call can wake
    learned: dict[Name, Learned] = field(default_factory=dict)  # by the Cascade that owns a plan
    accounts: dict[Name, Account] = field(default_factory=dict)  # of Cascades with a budget
    woken: set[Name] = field(default_factory=set)  # tiers that were called for, and not decided since
    hurried_s: dict[Name, float] = field(
        default_factory=dict
    )  # when a full tier last had a look before its time

    def forget_all_but(self, tiers: set[Name], cascades: set[Name]) -> None:
        """Drop what no longer exists."""
        self.tiers = {name: past for name, past in self.tiers.items() if name in tiers}
        self.cascades = {name: past for name, past in self.cascades.items() if name in cascades}
        self.asleep &= tiers
        self.woken &= tiers
        self.hurried_s = {name: at_s for name, at_s in self.hurried_s.items() if name in tiers}


def weights_spec(cascade: Cascade) -> tuple[object, ...]:
    """What entry weights return to, and the pin that keeps them from it; a change of either starts them again."""
    spec = cascade.spec
    pin = pins.weights(cascade.metadata.annotations, tiers=[tier.name for tier in spec.tiers]).weights or {}
    return (*pin.items(), spec.weights.mode, *((tier.name, tier.weight) for tier in spec.tiers))


class Store:
    """Our kinds as models, as last seen or as last written, whichever is newer.

    The watch brings our own writes back a moment later; until then they must not look undone.  Objects are parsed
    once per resourceVersion.
    """

    def __init__(self, view: View, *, on_invalid: Callable[[Key, ValueError], None]) -> None:
        self._view = view
        self._on_invalid = on_invalid
        self._written: dict[Key, Manifest] = {}
        self._parsed: dict[Key, tuple[str, Any]] = {}

    def tiers(self) -> dict[Name, ModelTier]:
        """Every ModelTier that is not being deleted."""
        return self._all("ModelTier", ModelTier)

    def cascades(self) -> dict[Name, Cascade]:
        """Every Cascade that is not being deleted."""
        return self._all("Cascade", Cascade)

    def wrote(self, key: Key, stored: Manifest) -> None:
        """The API server stored this."""
        self._written[key] = stored

    def manifest(self, key: Key) -> Manifest | None:
        """The newest we know; None when it is gone."""
        seen = self._view.get(key)
        written = self._written.get(key)
        if seen is None or written is None:
            self._written.pop(key, None)
            return seen
        if _same_object(seen, written) and _version(written) > _version(seen):
            return written
        del self._written[key]
        return seen

    def _all(self, kind: str, model: type[Any]) -> dict[Name, Any]:
        found: dict[Name, Any] = {}
        keys = set()
        for seen in self._view.list(kind):
            meta = seen["metadata"]
            key = Key(kind, meta.get("namespace", ""), meta["name"])
            keys.add(key)
            parsed = self._parse(key, self.manifest(key) or seen, model)
            if parsed is not None and parsed.metadata.deletion_timestamp is None:
                found[Name(key.namespace, key.name)] = parsed
        self._parsed = {k: v for k, v in self._parsed.items() if k.kind != kind or k in keys}
        return found

    def _parse(self, key: Key, manifest: Manifest, model: type[Any]) -> Any:
        version = manifest["metadata"].get("resourceVersion", "")
        known = self._parsed.get(key)
        if known is None or known[0] != version or not version:
            try:
                known = (version, model.model_validate(manifest))
            except ValueError as err:  # One broken object stops nobody else.
                known = (version, None)
                self._on_invalid(key, err)
            self._parsed[key] = known
        return known[1]


def _same_object(one: Manifest, other: Manifest) -> bool:
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))


def _version(manifest: Manifest) -> int:
    version = ObjectMeta.model_validate(manifest["metadata"]).resource_version
    return int(version) if version.isdigit() else 0
