"""Posts Kubernetes Events."""

import uuid
from collections.abc import Callable

import structlog

from modelfleet import names
from modelfleet.adapters.kube import KubeCluster
from modelfleet.api.meta import Manifest, rfc3339
from modelfleet.errors import ClusterError

MESSAGE_CHARS_MAX = 1024

log = structlog.get_logger(__name__)


class KubeEvents:
    """Events (see ports) of the core API.  One that cannot be posted is only logged: it is but a message."""

    def __init__(self, cluster: KubeCluster, now_s: Callable[[], float], *, instance: str) -> None:
        self._cluster = cluster
        self._now_s = now_s
        self._instance = instance

    async def record(self, regarding: Manifest, *, reason: str, message: str, warning: bool = False) -> None:
        """Post one Event about `regarding`."""
        meta = regarding["metadata"]
        now = rfc3339(self._now_s())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{names.child(meta['name'])}.{uuid.uuid4().hex[:16]}",
                "namespace": meta["namespace"],
            },
            "involvedObject": {
                "apiVersion": regarding.get("apiVersion", names.API_VERSION),
                "kind": regarding["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "resourceVersion": meta.get("resourceVersion", ""),
            },
            "reason": reason,
            "message": message[:MESSAGE_CHARS_MAX],
            "type": "Warning" if warning else "Normal",
            "source": {"component": names.MANAGER},
            "reportingComponent": names.MANAGER,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._cluster.request("POST", f"/api/v1/namespaces/{meta['namespace']}/events", body=event)
        except ClusterError as err:
            log.warning("an Event could not be posted", reason=reason, message=message, error=str(err))
