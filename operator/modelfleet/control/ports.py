"""What the control loops need of the world, in our words; adapters implement it, tests fake it in a few lines."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from modelfleet.api.existing import ExistingWorkload
from modelfleet.api.key import Key
from modelfleet.api.meta import Manifest
from modelfleet.diff.adopted import Found
from modelfleet.plan.snapshot import Quiet
from modelfleet.plan.spending import Counted

__all__ = ["Clock", "Cluster", "Events", "Hub", "Key", "Reports", "View", "Workloads"]


class Cluster(Protocol):
    """Reads and writes of the API server.  Every call raises ClusterError (Conflict for 409) when it is refused."""

    async def get(self, key: Key, *, cached: bool = False) -> Manifest | None:
        """The object as it is stored now, or None; `cached` may be a moment old and costs the API server little."""

    async def list(self, kind: str, *, namespace: str | None = None) -> tuple[Sequence[Manifest], int]:
        """All objects of a kind that concern us, and the resourceVersion of the list."""

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply, forced; returns the object as stored.  A uid or resourceVersion in it is a precondition."""

    async def apply_status(self, key: Key, status: Manifest, *, manager: str) -> Manifest:
        """Server-side apply of the status subresource, forced; only the fields given are owned."""

    async def delete(self, manifest: Manifest) -> None:
        """Delete exactly this object: uid and resourceVersion are preconditions.  A missing object is fine."""


class Events(Protocol):
    """Kubernetes Events: one when something happened, never per tick."""

    async def record(self, regarding: Manifest, *, reason: str, message: str, warning: bool = False) -> None:
        """Post one Event about `regarding`."""


class View(Protocol):
    """What the watches have delivered: the loops' only source of observed state."""

    def get(self, key: Key) -> Manifest | None:
        """The object as last seen, or None."""

    def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] = {}
    ) -> Sequence[Manifest]:
        """Objects of a kind, sorted by namespace and name."""


class Clock(Protocol):
    """Time as an argument."""

    def now_s(self) -> float:
        """Seconds since the epoch."""


class Hub(Protocol):
    """The model hub."""

    async def commit(self, repository: str, revision: str, *, endpoint: str, timeout_s: float) -> str | None:
        """The commit that `revision` is now; None when the hub refuses to say.  Raises NotYet when it is silent."""


class Reports(Protocol):
    """What routers say of themselves."""

    async def keys_missing(self, addresses: Sequence[str]) -> frozenset[str] | None:
        """ModelTiers whose API key a router at one of these addresses misses; None when no router answers."""

    async def keys_usable(self, addresses: Sequence[str]) -> int | None:
        """The fewest API keys that a router at one of these addresses lets in; None when none asks for any."""

    async def outages(self, addresses: Sequence[str]) -> Mapping[str, str] | None:
        """External ModelTiers that each router which answers cannot ask, and its word for why; None when none answers."""

    async def quiet(self, addresses: Sequence[str]) -> Mapping[str, Mapping[str, Quiet]]:
        """By address and ModelTier, for how long there was no request; routers that do not answer are absent."""

    async def counted(self, addresses: Sequence[str]) -> Mapping[str, Counted]:
        """Dollars and attempts that each router process has counted; routers that do not answer are absent."""


class Workloads(Protocol):
    """What somebody else runs: looked at, and scaled through the scale subresource alone.  Raises ClusterError."""

    async def look(self, namespace: str, existing: ExistingWorkload) -> Found:
        """What there is of it now.  Rights that we lack are told in it, not raised."""

    async def resize(
        self, namespace: str, existing: ExistingWorkload, found: Found, replicas: int
    ) -> Manifest:
        """Ask its scale target for so many, unless that changed since it was found; returns its Scale as stored."""
