"""Lists everything now and then: what a watch missed is found, and objects whose deletion it missed are dropped."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from modelfleet import names
from modelfleet.api.meta import Manifest
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
OWN_KINDS = ("ModelTier", "Cascade")
RETRY_S = 2.0
CLEAR_S = 5.0
OVERDUE_S = 10.0  # well before a probe calls a watch silent
CLEARED_AT_ONCE = 20

log = structlog.get_logger(__name__)


class Resync:
    """Keeps the view complete.  `synced` is set once everything was listed."""

    def __init__(self, ctx: Context, *, namespaces: Sequence[str], add: Callable[[Key], None]) -> None:
        self._ctx = ctx
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._add = add
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List everything, then again every resync_s, until cancelled."""
        while True:
            try:
                await self.once()
            except ClusterError as err:
                log.warning("listing failed", error=str(err))
                await asyncio.sleep(RETRY_S)
                continue
            self.synced.set()
            await self._rest()
            for key in everything(self._ctx.view):
                self._add(key)

    async def _rest(self) -> None:
        """Wait for the next round, and clear up meanwhile what the watches will never deliver."""
        until_s = self._ctx.clock.now_s() + self._ctx.resync_s
        while (left_s := until_s - self._ctx.clock.now_s()) > 0:
            await asyncio.sleep(min(CLEAR_S, left_s))
            await self.clear()

    async def clear(self) -> None:
        """Forget what came and went unseen by the watches.  What is still there is theirs to deliver."""
        view = self._ctx.view
        for key in view.overdue(since_s=self._ctx.clock.now_s() - OVERDUE_S)[:CLEARED_AT_ONCE]:
            before = view.get(key)
            try:
                gone = not _watched(await self._ctx.cluster.get(key))
            except ClusterError as err:
                log.warning("could not look for an object", name=key.name, error=str(err))
                return
            if gone:
                view.forget(key)
                for each in concerned(view, before) if before else ():
                    self._add(each)

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


def _watched(item: Manifest | None) -> bool:
    """Whether the watches bring this object: it is there, and a child still carries our label."""
    if item is None:
        return False
    labels = item["metadata"].get("labels") or {}
    return item["kind"] in OWN_KINDS or labels.get(names.LABEL_MANAGED_BY) == names.MANAGER
