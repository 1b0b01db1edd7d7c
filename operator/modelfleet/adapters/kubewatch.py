"""A thin watch on the API server for processes that must stay small: list, then watch, then list again when told to.

Whatever happens to the API server, the last known objects stay known.  `changed` is called with all of them by name
after every change, so a reader never has to replay events.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import orjson

_log = logging.getLogger(__name__)

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE = 500
# The server ends a watch after this long.  A connection that died silently is noticed a little later, since bookmarks
# come about once a minute.
_WATCH_S = 240
_SILENCE_S = 100.0
_REQUEST_S = 10.0
_BACKOFF_S_MAX = 20.0
_BACKOFF_S_MIN = 0.2
_DOUBLINGS_MAX = 16
_ERROR_CHARS_MAX = 300
# A version that never works, such as one that a restored server has yet to reach, is given up after so many attempts.
_FAILURES_PER_VERSION = 3
_LINE_BYTES_MAX = 8 * 1024 * 1024  # one object; etcd allows 1.5 MiB

_GONE = 410

Objects = Mapping[str, Mapping[str, Any]]


class WatchLost(Exception):
    """The watch ended other than by its time."""


class Expired(WatchLost):
    """The server no longer knows our version: list again."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API server is, whom to trust and who we are.  The token is read again for each request: it rotates."""

    url: str
    ca_file: Path | None = None
    token_file: Path | None = None
    token: str | None = None
    client_cert: tuple[Path, Path] | None = None  # certificate and key

    @staticmethod
    def in_cluster(environment: Mapping[str, str]) -> "ApiServer":
        """The server as every pod with a service account token finds it.  Raises KeyError outside a cluster."""
        host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        return ApiServer(
            url=f"https://{host}:{port}",
            ca_file=_SERVICE_ACCOUNT / "ca.crt",
            token_file=_SERVICE_ACCOUNT / "token",
        )

    def client(self) -> httpx.AsyncClient:
        """A client that verifies the server.  Raises OSError or ssl.SSLError when a file is missing or no certificate."""
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if self.client_cert is not None:
            context.load_cert_chain(*map(str, self.client_cert))
        # Silence is judged per request: a watch may be silent longer than a list.
        return httpx.AsyncClient(
            base_url=self.url,
            verify=context,
            trust_env=False,
            timeout=_REQUEST_S,
            event_hooks={"request": [self._sign]},
        )

    async def _sign(self, request: httpx.Request) -> None:
        token = self.token_file.read_text().strip() if self.token_file is not None else self.token
        if token:
            request.headers["authorization"] = f"Bearer {token}"


@dataclass(frozen=True, slots=True)
class Resource:
    """What to watch in one namespace."""

    path: str  # e.g. /api/v1/namespaces/default/configmaps
    label_selector: str = ""
    field_selector: str = ""

    def query(self) -> dict[str, str]:
        selectors = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in selectors.items() if value}


@dataclass(slots=True)
class Watch:
    """Keeps the objects of one resource current.  `run` goes on until it is cancelled."""

    server: ApiServer
    resource: Resource
    changed: Callable[[Objects], None]
    silence_s: float = _SILENCE_S
    backoff_s_max: float = _BACKOFF_S_MAX
    _objects: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _version: str = ""
    _failures: int = 0  # in a row

    async def run(self) -> None:
        """List and watch, again and again, with a growing and jittered pause after failures."""
        while True:
            try:
                async with self.server.client() as client:
                    while True:
                        if not self._version:
                            await self._list(client)
                        await self._watch(client)
            except Expired:
                self._version = ""
            except Exception as err:  # noqa: BLE001 - told below
                # No answer and no fault may end a watch: without one, this process serves an old world for ever.
                self._failures += 1
                if self._failures >= _FAILURES_PER_VERSION:
                    self._version = ""
                error = f"{type(err).__name__}: {err}"[:_ERROR_CHARS_MAX]
                _log.warning(
                    "watch lost, beginning again",
                    extra={"path": self.resource.path, "error": error, "failures": self._failures},
                )
            await asyncio.sleep(_pause_s(self._failures, self.backoff_s_max))

    async def _list(self, client: httpx.AsyncClient) -> None:
        """Read all objects, page by page, and take them in place of those known."""
        query = {**self.resource.query(), "limit": str(_PAGE)}
        found: dict[str, Mapping[str, Any]] = {}
        while True:
            answer = await client.get(self.resource.path, params=query)
            _check(answer.status_code)
            page = orjson.loads(answer.content)
            for item in page.get("items") or ():
                found[item["metadata"]["name"]] = item
            following = page["metadata"].get("continue")
            if not following:
                break
            query["continue"] = following
        self._objects = found
        self._version = page["metadata"]["resourceVersion"]
        self._failures = 0
        self._tell()

    async def _watch(self, client: httpx.AsyncClient) -> None:
        """Follow the changes since the version we know, until the server ends the watch in time."""
        query = {
            **self.resource.query(),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(_WATCH_S),
        }
        limits = httpx.Timeout(_REQUEST_S, read=self.silence_s)
        async with client.stream("GET", self.resource.path, params=query, timeout=limits) as answer:
            _check(answer.status_code)
            async for line in _lines(answer):
                self._take(orjson.loads(line))
                self._failures = 0
        # Something in between may end every watch at once, and must not make us ask without pause.
        await asyncio.sleep(_pause_s(0, self.backoff_s_max))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            code = item.get("code")
            raise Expired if code == _GONE else WatchLost(f"{code} {item.get('reason')}")
        self._version = item["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        name = item["metadata"]["name"]
        if kind == "DELETED":
            self._objects.pop(name, None)
        else:
            self._objects[name] = item
        self._tell()

    def _tell(self) -> None:
        try:
            self.changed(MappingProxyType(self._objects))
        except Exception:  # noqa: BLE001 - logged with its traceback
            # A reader's fault must not end the watch: the next change may be one that it understands.
            _log.exception("a change could not be taken", extra={"path": self.resource.path})


def _check(status: int) -> None:
    if status == _GONE:
        raise Expired
    if status != httpx.codes.OK:
        raise WatchLost(f"HTTP {status}")


async def _lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Lines of a body as they come.  Raises WatchLost when one does not end."""
    rest = b""
    async for chunk in answer.aiter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            raise WatchLost("a line without end")
        for line in whole:
            if line:
                yield line


def _pause_s(failures: int, most_s: float) -> float:
    """Exponential, with full jitter: routers that lost the same server must not come back as one."""
    # Beyond this the pause is at its most anyway, and after some hours the power would be no float any more.
    ceiling_s = min(most_s, _BACKOFF_S_MIN * 2 ** min(failures, _DOUBLINGS_MAX))
    return random.uniform(ceiling_s / 2, ceiling_s)  # noqa: S311 - spreads load, keeps no secret
