"""Lists everything now and then: what a watch missed is found, and objects whose deletion it missed are dropped."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from modelfleet.control.context import Context
from modelfleet.control.handlers import concerned, everything
from modelfleet.control.ports import Key
from modelfleet.errors import ClusterError

# Owners before children, so that a child finds the key of its owner.
KINDS = (
    "ModelTier",
    "Cascade",
    "ServiceAccount",
    "RoleBinding",
    "ConfigMap",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
    "Pod",
)
RETRY_S = 2.0

log = structlog.get_logger(__name__)


class Resync:
    """Keeps the view complete.  `synced` is set once everything was listed."""

    def __init__(self, ctx: Context, *, namespaces: Sequence[str], add: Callable[[Key], None]) -> None:
        self._ctx = ctx
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._add = add
        self.synced = asyncio.Event()
        self.last_s = 0.0

    async def run(self) -> None:
        """List everything, then again every resync_s, until cancelled."""
        while True:
            try:
                await self.once()
            except ClusterError as err:
                log.warning("listing failed", error=str(err))
                await asyncio.sleep(RETRY_S)
                continue
            self.last_s = self._ctx.clock.now_s()
            self.synced.set()
            await asyncio.sleep(self._ctx.resync_s)
            for key in everything(self._ctx.view):
                self._add(key)

    async def once(self) -> None:
        """List everything once, and name the keys that it changed."""
        view = self._ctx.view
        for namespace in self._namespaces:
            for kind in KINDS:
                items, version = await self._ctx.cluster.list(kind, namespace=namespace)
                now_s = self._ctx.clock.now_s()
                changed = view.listed(kind, items, at_version=version, now_s=now_s, namespace=namespace)
                for key in changed:
                    item = view.get(key)
                    for each in concerned(view, item) if item else everything(view):
                        self._add(each)
