"""The API server through kubernetes.aio: plain JSON in and out, errors as ours.  The only file that knows it.

The client's typed models would cost a conversion each way, so only its configuration, authentication and transport
are used.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from modelfleet import __version__, names
from modelfleet.api.key import Key
from modelfleet.api.meta import Manifest
from modelfleet.errors import ClusterError, Conflict

PAGE = 100  # objects per page of a list; a page is the most that is parsed at once
PAGES_MAX = 1000
CONNECTIONS = 8
USER_AGENT = f"modelfleet/{__version__}"  # what audit logs and rate limits know us by
HTTP_NOT_FOUND = 404
HTTP_CONFLICT = 409
_APPLY = "application/apply-patch+yaml"  # JSON is YAML


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API.  `selector`: which of its objects concern us."""

    api_version: str
    plural: str
    selector: str = ""

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]


_OURS = f"{names.LABEL_MANAGED_BY}={names.MANAGER}"
RESOURCES: Mapping[str, Resource] = {
    "Cascade": Resource(names.API_VERSION, "cascades"),
    "ConfigMap": Resource("v1", "configmaps", _OURS),
    "Deployment": Resource("apps/v1", "deployments", _OURS),
    "Lease": Resource("coordination.k8s.io/v1", "leases"),
    "ModelTier": Resource(names.API_VERSION, "modeltiers"),
    "Pod": Resource("v1", "pods", _OURS),
    "PodDisruptionBudget": Resource("policy/v1", "poddisruptionbudgets", _OURS),
    "RoleBinding": Resource("rbac.authorization.k8s.io/v1", "rolebindings", _OURS),
    "Service": Resource("v1", "services", _OURS),
    "ServiceAccount": Resource("v1", "serviceaccounts", _OURS),
}


async def _configure(configuration: Configuration) -> None:
    """As the user's kubeconfig says.  Raises ClusterError where there is none, or none that can be read."""
    try:
        await config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as err:
        raise ClusterError(
            f"no cluster: {err}; set KUBECONFIG to a kubeconfig with a current context"
        ) from err


class KubeCluster:
    """A Cluster (see ports).  `async with` it; every request ends within `timeout_s`, waiting for a connection included."""

    def __init__(self, *, timeout_s: float, connections: int = CONNECTIONS) -> None:
        self._timeout_s = timeout_s
        self._connections = connections
        self.api: ApiClient

    async def __aenter__(self) -> Self:
        configuration = Configuration()
        configuration.connection_pool_maxsize = self._connections
        # Like kopf, which looks for no proxy either; looking costs two hops through a thread per request.
        configuration.client_session_kwargs = {"trust_env": False}
        try:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            await _configure(configuration)
        self.api = ApiClient(configuration)
        self.api.user_agent = USER_AGENT
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()  # type: ignore[no-untyped-call]

    async def get(self, key: Key, *, cached: bool = False) -> Manifest | None:
        """The object as it is stored now, or None; `cached` may be a moment old and costs the API server little."""
        try:
            return await self.request("GET", path(key), query={"resourceVersion": "0"} if cached else None)
        except ClusterError as err:
            if err.status == HTTP_NOT_FOUND:
                return None
            raise

    async def list(self, kind: str, *, namespace: str | None = None) -> tuple[Sequence[Manifest], int]:
        """All objects of a kind that concern us, and the resourceVersion of the list."""
        resource = RESOURCES[kind]
        items: list[Manifest] = []
        query = {"limit": str(PAGE), "labelSelector": resource.selector}
        for _ in range(PAGES_MAX):
            page = await self.request("GET", collection(kind, namespace), query=query)
            for item in page["items"]:
                item["metadata"].pop("managedFields", None)  # most of its bytes, and nobody reads it
            items += page["items"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                break
        # A list leaves out what its items have in common.
        listed = [{"apiVersion": resource.api_version, "kind": kind, **item} for item in items]
        return listed, int(page["metadata"]["resourceVersion"])

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply, forced; returns the object as stored."""
        meta = manifest["metadata"]
        key = Key(manifest["kind"], meta.get("namespace", ""), meta["name"])
        return await self.request(
            "PATCH", path(key), query=_forced(manager), body=manifest, content_type=_APPLY
        )

    async def apply_status(self, key: Key, status: Manifest, *, manager: str) -> Manifest:
        """Server-side apply of the status subresource, forced; only the fields given are owned."""
        body = {
            "apiVersion": RESOURCES[key.kind].api_version,
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": status,
        }
        where = f"{path(key)}/status"
        return await self.request("PATCH", where, query=_forced(manager), body=body, content_type=_APPLY)

    async def delete(self, manifest: Manifest) -> None:
        """Delete exactly this object: uid and resourceVersion are preconditions.  A missing object is fine."""
        meta = manifest["metadata"]
        key = Key(manifest["kind"], meta.get("namespace", ""), meta["name"])
        preconditions = {field: meta[field] for field in ("uid", "resourceVersion")}
        body = {"propagationPolicy": "Background", "preconditions": preconditions}
        try:
            await self.request("DELETE", path(key), body=body)
        except ClusterError as err:
            if err.status != HTTP_NOT_FOUND:
                raise

    async def request(
        self,
        method: str,
        where: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        """One request; raises ClusterError when it is refused, not answered in time or not JSON."""
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": USER_AGENT}
        wanted = {field: value for field, value in (query or {}).items() if value}
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.api.update_params_for_auth(headers, [], ["BearerToken"], where, method, body)
                url = f"{self.api.configuration.host}{where}" + (f"?{urlencode(wanted)}" if wanted else "")
                answer = await self.api.call_api(method, url, header_params=headers, body=body)
                text = await answer.read()  # type: ignore[no-untyped-call]
        except ApiException as err:
            raise _refused(method, where, err.status or 0, err.body) from err
        except (TimeoutError, aiohttp.ClientError, OSError) as err:
            raise ClusterError(f"{method} {where}: {type(err).__name__}: {err}") from err
        if not 200 <= answer.status < 300:  # noqa: PLR2004  the range of success
            raise _refused(method, where, answer.status, text, answer.headers.get("Retry-After"))
        return _json(method, where, text)


def collection(kind: str, namespace: str | None) -> str:
    """Path of all objects of a kind, in one namespace or in all."""
    resource = RESOURCES[kind]
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.api_version}"
    return f"{root}/namespaces/{namespace}/{resource.plural}" if namespace else f"{root}/{resource.plural}"


def path(key: Key) -> str:
    """Path of one object."""
    return f"{collection(key.kind, key.namespace)}/{key.name}"


def _forced(manager: str) -> dict[str, str]:
    return {"fieldManager": manager, "force": "true"}


def _refused(method: str, where: str, status: int, text: Any, retry_after: str | None = None) -> ClusterError:
    try:
        answer = json.loads(text or "{}")
        message, reason = str(answer.get("message", "")), str(answer.get("reason", ""))
    except (ValueError, AttributeError):
        message, reason = "", ""
    kind = Conflict if status == HTTP_CONFLICT else ClusterError
    wait_s = float(retry_after) if retry_after and retry_after.isdigit() else None
    told = message or f"HTTP {status}"
    return kind(f"{method} {where}: {told}", status=status, reason=reason, retry_after_s=wait_s)


def _json(method: str, where: str, text: bytes) -> Manifest:
    try:
        answer = json.loads(text)
    except ValueError as err:
        raise ClusterError(f"{method} {where}: the answer is not JSON") from err
    if not isinstance(answer, dict):
        raise ClusterError(f"{method} {where}: the answer is not an object")
    return answer
