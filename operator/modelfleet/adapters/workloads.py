"""Workloads that somebody else runs: their Service, its pods, and the scale subresource of whatever makes them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from modelfleet import names
from modelfleet.adapters.kube import HTTP_NOT_FOUND, KubeCluster
from modelfleet.api.existing import ExistingWorkload, ScaleTargetRef
from modelfleet.api.meta import Manifest
from modelfleet.diff.adopted import Found, NoScale
from modelfleet.errors import ClusterError

_FORBIDDEN = 403
_SERVER_ERROR = 500
_ITEMS_MAX = 500  # pods of one Service, autoscalers of one namespace
_FROM_CACHE = {"resourceVersion": "0"}  # a moment old, and cheap for the API server
_SCALE = {"apiVersion": "autoscaling/v1", "kind": "Scale"}


class KubeWorkloads:
    """Workloads (see ports).  Where a kind lives is asked once and kept."""

    def __init__(self, cluster: KubeCluster) -> None:
        self._cluster = cluster
        self._plurals: dict[tuple[str, str], str] = {}

    async def look(self, namespace: str, existing: ExistingWorkload) -> Found:
        """What there is of it now.  Rights that we lack are told in it, not raised."""
        lacking: list[str] = []
        (service, pods), (scale, missing), autoscalers = await asyncio.gather(
            self._behind(namespace, existing.service_ref.name, lacking),
            self._scale(namespace, existing.scale_target_ref, lacking),
            self._autoscalers(namespace, existing.scale_target_ref, lacking),
        )
        return Found(service, pods, scale, missing, autoscalers, tuple(sorted(lacking)))

    async def resize(
        self, namespace: str, existing: ExistingWorkload, found: Found, replicas: int
    ) -> Manifest:
        """Ask its scale target for so many, unless that changed since it was found; returns its Scale as stored."""
        ref = existing.scale_target_ref
        assert ref is not None
        assert found.scale is not None
        meta = found.scale["metadata"]
        kept = {
            field: meta[field] for field in ("name", "namespace", "uid", "resourceVersion") if field in meta
        }
        where = _path(namespace, ref, self._plurals[ref.api_version, ref.kind])
        body = {**_SCALE, "metadata": kept, "spec": {"replicas": replicas}}
        manager = {"fieldManager": names.FIELD_MANAGER_STRUCTURE}
        return await self._cluster.request("PUT", where, query=manager, body=body)

    async def _behind(
        self, namespace: str, name: str, lacking: list[str]
    ) -> tuple[Manifest | None, Sequence[Manifest]]:
        """The Service, and the pods that it selects."""
        core = f"/api/v1/namespaces/{namespace}"
        service = await self._get(f"{core}/services/{name}", "get services", lacking)
        if service is None:
            return None, ()
        selector = service["spec"].get("selector") or {}
        if not selector:
            return service, await self._endpoints(namespace, name, lacking)
        wanted = {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(selector.items()))}
        return service, await self._items(f"{core}/pods", wanted, "list pods", lacking)

    async def _endpoints(self, namespace: str, service: str, lacking: list[str]) -> Sequence[Manifest]:
        """Of a Service without a selector: its endpoints, which may be outside the cluster, in the form of pods."""
        where = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        wanted = {"labelSelector": f"{names.LABEL_SERVICE}={service}"}
        slices = await self._items(where, wanted, "list endpointslices.discovery.k8s.io", lacking)
        return [_as_pod(each, namespace) for piece in slices for each in piece.get("endpoints") or ()]

    async def _autoscalers(
        self, namespace: str, ref: ScaleTargetRef | None, lacking: list[str]
    ) -> Sequence[Manifest]:
        if ref is None:
            return ()
        where = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
        return await self._items(where, {}, "list horizontalpodautoscalers.autoscaling", lacking)

    async def _scale(
        self, namespace: str, ref: ScaleTargetRef | None, lacking: list[str]
    ) -> tuple[Manifest | None, NoScale]:
        if ref is None:
            return None, ""
        plural = self._plurals.get((ref.api_version, ref.kind))
        if plural is None:
            plural, missing = await self._plural(ref)
            if plural is None:
                return None, missing
            self._plurals[ref.api_version, ref.kind] = plural
        group = ref.api_version.rpartition("/")[0]
        right = f"get {plural}{'.' if group else ''}{group}/scale"
        before = len(lacking)
        try:
            found = await self._get(_path(namespace, ref, plural), right, lacking)
        except ClusterError as err:
            # What the API server says of an object whose number of replicas nobody has written yet.
            if err.status == _SERVER_ERROR and "spec replicas field" in str(err):
                return None, "NoNumber"
            raise
        return found, "" if found is not None or len(lacking) > before else "NotFound"

    async def _plural(self, ref: ScaleTargetRef) -> tuple[str | None, NoScale]:
        """How the kind is called in paths, and whether it can be scaled."""
        root = "/apis" if "/" in ref.api_version else "/api"
        try:
            served = await self._cluster.request("GET", f"{root}/{ref.api_version}")
        except ClusterError as err:
            if err.status == HTTP_NOT_FOUND:
                return None, "KindNotFound"
            raise
        resources: list[Mapping[str, Any]] = served.get("resources") or []
        of_kind = [each["name"] for each in resources if each["kind"] == ref.kind and "/" not in each["name"]]
        if not of_kind:
            return None, "KindNotFound"
        if all(each["name"] != f"{of_kind[0]}/scale" for each in resources):
            return None, "NoSubresource"
        return of_kind[0], ""

    async def _get(self, where: str, right: str, lacking: list[str]) -> Manifest | None:
        """The object as it is stored now; None where there is none, or we may not see it."""
        try:
            return await self._cluster.request("GET", where)
        except ClusterError as err:
            if err.status == _FORBIDDEN:
                lacking.append(right)
            if err.status in (HTTP_NOT_FOUND, _FORBIDDEN):
                return None
            raise

    async def _items(
        self, where: str, query: Mapping[str, str], right: str, lacking: list[str]
    ) -> Sequence[Manifest]:
        try:
            page = await self._cluster.request("GET", where, query={**query, **_FROM_CACHE})
        except ClusterError as err:
            if err.status != _FORBIDDEN:
                raise
            lacking.append(right)
            return ()
        items: Sequence[Manifest] = page.get("items") or ()
        return items[:_ITEMS_MAX]


def _path(namespace: str, ref: ScaleTargetRef, plural: str) -> str:
    root = "/apis" if "/" in ref.api_version else "/api"
    return f"{root}/{ref.api_version}/namespaces/{namespace}/{plural}/{ref.name}/scale"


def _as_pod(endpoint: Mapping[str, Any], namespace: str) -> Manifest:
    ready = (endpoint.get("conditions") or {}).get("ready") is not False  # unset means ready
    return {
        "kind": "Pod",
        "metadata": {"name": endpoint["addresses"][0], "namespace": namespace},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }
