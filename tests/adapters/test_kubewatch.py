"""The watch against a real API server, and against one that behaves as a broken one does."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml

from e2e.cluster.controlplane import ControlPlane
from modelfleet.adapters.kubewatch import ApiServer, Objects, Resource, Watch

PATIENCE_S = 15.0


class Seen:
    """What a watch told, newest last."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    def __call__(self, objects: Objects) -> None:
        self.states.append({name: item.get("data") for name, item in objects.items()})

    @property
    def now(self) -> dict[str, Any] | None:
        return self.states[-1] if self.states else None


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - the condition is of another task's making
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(server: ApiServer, resource: Resource, seen: Seen, **limits: float) -> AsyncIterator[None]:
    task = asyncio.create_task(Watch(server, resource, seen, **limits).run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def real(control_plane: ControlPlane, folder: Path) -> ApiServer:
    """The API server of a kubeconfig with inline certificates, or with files, or with a token."""
    config = yaml.safe_load(Path(control_plane.kubeconfig).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]

    def file(holder: dict[str, str], name: str) -> Path | None:
        if name in holder:
            return Path(holder[name])
        if f"{name}-data" not in holder:
            return None
        path = folder / name
        path.write_bytes(base64.b64decode(holder[f"{name}-data"]))
        return path

    cert, key = file(user, "client-certificate"), file(user, "client-key")
    return ApiServer(
        url=cluster["server"],
        ca_file=file(cluster, "certificate-authority"),
        token=user.get("token"),
        client_cert=(cert, key) if cert and key else None,
    )


@pytest.mark.controlplane
async def test_follows_a_real_server(control_plane: ControlPlane, tmp_path: Path):
    server = real(control_plane, tmp_path)
    await asyncio.to_thread(control_plane.kubectl, "create", "namespace", "watched")
    resource = Resource("/api/v1/namespaces/watched/configmaps", field_selector="metadata.name=table")
    kubectl = _kubectl(control_plane)
    seen = Seen()

    async with running(server, resource, seen):
        await until(lambda: seen.now == {})
        await kubectl("create", "configmap", "other", "--from-literal=a=0")
        await kubectl("create", "configmap", "table", "--from-literal=a=1")
        await until(lambda: seen.now == {"table": {"a": "1"}})
        await kubectl("patch", "configmap", "table", "--type=merge", '-p={"data":{"a":"2"}}')
        await until(lambda: seen.now == {"table": {"a": "2"}})
        await kubectl("delete", "configmap", "table")
        await until(lambda: seen.now == {})

    assert not any("other" in state for state in seen.states)


def _kubectl(control_plane: ControlPlane) -> Callable[..., Any]:
    async def run(*args: str) -> None:
        await asyncio.to_thread(control_plane.kubectl, "-n", "watched", *args)

    return run


# A server that says what it is told to, connection by connection.


def item(name: str, data: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, "data": data}


def listed(*items: dict[str, Any], version: str = "10", following: str = "") -> bytes:
    meta = {"resourceVersion": version, **({"continue": following} if following else {})}
    return answer(orjson.dumps({"metadata": meta, "items": list(items)}))


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def event(kind: str, obj: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"


WATCHING = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
ERROR_410 = event("ERROR", {"code": 410, "reason": "Expired", "metadata": {}})
ERROR_504 = event("ERROR", {"code": 504, "reason": "Timeout", "metadata": {}})
FAILED = b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 X\r\ncontent-length: 0\r\n\r\n"


class Scripted:
    """Answers each request with the next of its lines; after the last, a watch that stays silent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []
        self.tokens: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.paths.append(head.split()[1])
            self.tokens += [
                line.split()[-1] for line in head.splitlines() if line.startswith("authorization")
            ]
            if self.answers:
                writer.write(self.answers.pop(0))
                await writer.drain()
            else:
                writer.write(WATCHING)
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[tuple[Scripted, ApiServer]]:
    script = Scripted(*answers)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    try:
        yield script, ApiServer(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", token="t")
    finally:
        server.close()


A1, A2, B1 = item("a", "1", "11"), item("a", "2", "12"), item("b", "1", "13")
BOOKMARK = event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})

STORIES: dict[str, tuple[list[bytes], dict[str, Any], str]] = {
    "lists, then follows": (
        [listed(A1), WATCHING + event("MODIFIED", A2) + event("ADDED", B1)],
        {"a": "2", "b": "1"},
        "13",
    ),
    "reads all pages": ([listed(A1, following="n"), listed(B1)], {"a": "1", "b": "1"}, "10"),
    "goes on after a bookmark": ([listed(A1), WATCHING + BOOKMARK], {"a": "1"}, "20"),
    "goes on after the watch's time": ([listed(), WATCHING, WATCHING + event("ADDED", A1)], {"a": "1"}, "11"),
    "lists again when expired": (
        [listed(A1), WATCHING + ERROR_410, listed(B1, version="30")],
        {"b": "1"},
        "30",
    ),
    "lists again when gone": ([listed(A1), GONE, listed(B1, version="30")], {"b": "1"}, "30"),
    "forgets what is deleted": ([listed(A1, B1), WATCHING + event("DELETED", A1)], {"b": "1"}, "11"),
    "survives errors": (
        [FAILED, REFUSED, b"nonsense", listed(A1), FAILED, WATCHING + b"{bad\n"],
        {"a": "1"},
        "10",
    ),
    "survives lists of another shape": (
        [
            answer(b"[]"),
            answer(b"null"),
            answer(b'{"metadata":null}'),
            answer(b'{"metadata":{},"items":[1]}'),
            listed(A1),
        ],
        {"a": "1"},
        "10",
    ),
    "survives events of another shape": (
        [
            listed(A1),
            *(WATCHING + line + b"\n" for line in (b"[]", b"null", b'{"type":"ADDED","object":null}')),
        ],
        {"a": "1"},
        "10",
    ),
    # Such as a version that a restored server has yet to reach.
    "lists again when the version does not work": (
        [listed(A1), *[WATCHING + ERROR_504] * 3, listed(B1, version="5")],
        {"b": "1"},
        "5",
    ),
    "survives half a line": ([listed(A1), WATCHING + event("MODIFIED", A2)[:20]], {"a": "1"}, "10"),
    "survives an event without sense": ([listed(A1), WATCHING + b'{"type":"MODIFIED"}\n'], {"a": "1"}, "10"),
}


@pytest.mark.parametrize(("answers", "want", "version"), STORIES.values(), ids=STORIES)
async def test_follows_a_server_that(answers: list[bytes], want: dict[str, Any], version: str):
    seen = Seen()
    async with (
        scripted(*answers) as (script, server),
        running(server, Resource("/x", label_selector="l"), seen, backoff_s_max=0.01),
    ):
        await until(lambda: not script.answers and "watch=1" in script.paths[-1])
        await until(lambda: f"resourceVersion={version}" in script.paths[-1])

        assert seen.now == want
        assert all("labelSelector=l" in path for path in script.paths)
        assert set(script.tokens) == {"t"}


async def test_outage_of_days_is_outlived():
    seen = Seen()
    async with scripted(listed(A1)) as (_, server):
        closed = ApiServer(url="http://127.0.0.1:1")
        watch = Watch(closed, Resource("/x"), seen, backoff_s_max=0.01, _failures=10_000)
        task = asyncio.create_task(watch.run())
        await until(lambda: watch._failures > 10_002)
        watch.server = server
        await until(lambda: seen.now == {"a": "1"})
        task.cancel()


async def test_silent_connection_is_left():
    seen = Seen()
    async with (
        scripted(listed(A1)) as (script, server),
        running(server, Resource("/x"), seen, silence_s=0.05, backoff_s_max=0.01),
    ):
        await until(lambda: len(script.paths) > 3)

        assert seen.states == [{"a": "1"}]


async def test_rotated_token_is_used(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("first\n")
    async with scripted(listed(), WATCHING) as (script, server):
        rotating = ApiServer(url=server.url, token_file=token)
        async with running(rotating, Resource("/x"), Seen(), silence_s=0.05, backoff_s_max=0.01):
            await until(lambda: "first" in script.tokens)
            token.write_text("second\n")
            await until(lambda: "second" in script.tokens)


async def test_fault_of_the_reader_does_not_end_the_watch():
    calls: list[int] = []

    def faulty(objects: Objects) -> None:
        calls.append(len(objects))
        raise RuntimeError("a bug")

    async with scripted(listed(A1), WATCHING + event("ADDED", B1)) as (_, server):
        task = asyncio.create_task(Watch(server, Resource("/x"), faulty).run())
        await until(lambda: calls == [1, 2])
        assert not task.done()
        task.cancel()


def test_in_cluster_reads_the_pods_environment():
    server = ApiServer.in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})

    assert server.url == "https://[fd00::1]:443"
    with pytest.raises(KeyError):
        ApiServer.in_cluster({})


async def test_server_is_verified(control_plane: ControlPlane, tmp_path: Path):
    server = real(control_plane, tmp_path)
    stranger = ApiServer(url=server.url, token="t")
    async with stranger.client() as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("/api")
