"""What every reconcile needs, handed down once by the command that starts the operator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import Manifest
from modelfleet.control.ports import Clock, Cluster, Events, Hub, Key, Reports, Workloads
from modelfleet.control.view import MemoryView
from modelfleet.diff.reverts import Written


@dataclass(slots=True)
class FleetSettingsCell:
    """The fleet's settings as they are now; replaced as a whole when the ConfigMap changes."""

    now: FleetSettings = field(default_factory=FleetSettings)
    problem: str | None = None  # why the newest version could not be used; the last good one stays


@dataclass(slots=True)
class Context:
    """The world of the structure loop.  `touched` is told every object that a write of ours changed."""

    view: MemoryView
    cluster: Cluster
    events: Events
    hub: Hub
    reports: Reports
    workloads: Workloads
    clock: Clock
    settings: FleetSettingsCell
    resync_s: float
    wake: tuple[str, ...] = ()  # host:port where routers call the operators
    keys_missing: dict[Key, frozenset[str]] = field(default_factory=dict)  # by router, as last reported
    keys_usable: dict[Key, int] = field(default_factory=dict)  # by router that asks its clients for keys
    outages: dict[Key, Mapping[str, str]] = field(
        default_factory=dict
    )  # by router: external tiers, and why not
    resized: dict[Key, Written] = field(default_factory=dict)  # by tier over an existing workload
    touched: Callable[[Manifest], None] = lambda _: None
    again: Callable[[Key], None] = lambda _: None  # has a key looked at soon

    def took(self, item: Manifest) -> None:
        """Keep what a write returned, and have those that depend on it looked at."""
        self.view.written(item, now_s=self.clock.now_s())
        self.touched(item)


NEVER: float | None = None

__all__ = ["NEVER", "Context", "FleetSettingsCell", "Key"]
