"""The process as a pod runs it: a stand-in of the API server before it, SIGTERM at its end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import RouteTable
from modelfleet.router import app
from modelfleet.router.app import App, Ports
from modelfleet.router.keys import KeyRing
from tests.router.rig import (
    DONE,
    GOOD,
    GOOD_STREAM,
    PATIENCE_S,
    SSE_HEAD,
    Answer,
    Peer,
    cascade,
    chunk,
    config_map,
    engines,
    post,
    read_answer,
    reply,
    router,
    slices,
    tier,
    token,
    until,
)

OPERATOR = Path(__file__).parents[2] / "operator"


class ApiStandIn:
    """Lists what it has; its watches stay silent."""

    def __init__(self, ports: dict[str, list[int]]) -> None:
        table = RouteTable((cascade(tier("small", weight=1000)),))
        self.lists = {"configmaps": config_map(table), "endpointslices": slices(ports)}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        if "watch=1" in path:
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            await reader.read()
        else:
            items = list(self.lists[path.partition("?")[0].rpartition("/")[2]].values())
            body = orjson.dumps({"metadata": {"resourceVersion": "1"}, "items": items})
            writer.write(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
        writer.close()


@dataclass
class Process:
    """A running `modelfleet-router`."""

    process: asyncio.subprocess.Process
    http: int
    metrics: int
    lines: list[dict[str, Any]]

    async def get(self, path: str, port: int) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: r\r\n\r\n".encode())
        try:
            return await read_answer(reader)
        finally:
            writer.close()

    async def log(self, message: str) -> dict[str, Any]:
        """The next log line with this message."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line: dict[str, Any] = orjson.loads(await self.process.stdout.readline())
                self.lines.append(line)
                if line["message"] == message:
                    return line


@asynccontextmanager
async def running(ports: dict[str, list[int]]) -> AsyncIterator[Process]:
    api = await asyncio.start_server(ApiStandIn(ports).serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{api.sockets[0].getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modelfleet.cli.route", "--api-server", url),
        *("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(OPERATOR), "MODELFLEET_NAMESPACE": "ns"},
    )
    try:
        found = Process(process, 0, 0, [])
        listening = await found.log("listening")
        found.http, found.metrics = listening["http"], listening["metrics"]
        await found.log("endpoints changed")
        yield found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        api.close()


async def test_serves_measures_and_leaves_without_losing_a_request():
    go_on = asyncio.Event()

    async def slow_stream(peer: Peer) -> None:
        await peer.send(SSE_HEAD + chunk(token("a")))
        await go_on.wait()
        await peer.send(b"".join(chunk(event) for event in GOOD_STREAM[1:]) + b"0\r\n\r\n")

    async with (
        engines([reply(GOOD), slow_stream, reply(GOOD)]) as (engine,),
        running({"small-svc": [engine.port]}) as router,
    ):
        ready = await router.get("/readyz", router.metrics)
        first = await _ask(router, post())
        reader, writer = await asyncio.open_connection("127.0.0.1", router.http)
        writer.write(post(fields="", stream=True))
        begun = await reader.readuntil(b'"a"')
        router.process.send_signal(signal.SIGTERM)
        await router.log("draining")
        leaving = await router.get("/readyz", router.http)
        late = await _ask(router, post(fields=""))
        numbers = (await router.get("/metrics", router.metrics)).body.decode()
        go_on.set()
        rest = await reader.readuntil(DONE)
        async with asyncio.timeout(30):
            status = await router.process.wait()
        writer.close()

    assert (ready.status, first.status, leaving.status) == (200, 200, 503)
    assert (late.status, late.headers["connection"]) == (200, "close")
    assert begun.startswith(b"HTTP/1.1 200 OK")
    assert rest.endswith(DONE)
    assert status == 0
    labels = 'cascade="c",fleet_namespace="ns",model_tier="small-mt",tier="small"'
    assert f"modelfleet_router_requests_in_flight{{{labels}}} 1.0" in numbers
    assert f"modelfleet_router_requests_answered_total{{{labels}}} 2.0" in numbers
    assert "process_resident_memory_bytes" in numbers


async def test_house_is_kept_after_a_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(app, "_HOUSEKEEPING_S", 0.001)
    asked: list[str] = []

    def faulty() -> bool:
        asked.append("again")
        raise RuntimeError("a bug")

    async with router(cascade(tier("small", weight=1000)), {}) as rig:
        process = App(
            rig.state,
            refresh_secrets=faulty,
            loop=asyncio.get_running_loop(),
            ports=Ports("127.0.0.1", 0, 0),
        )
        running = asyncio.create_task(process.run([]))
        try:
            await until(lambda: len(asked) > 2)
        finally:
            running.cancel()


async def test_revoked_key_is_noticed_while_the_house_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(app, "_HOUSEKEEPING_S", 0.001)
    entry = tmp_path / "team"
    entry.write_text('{"sha256": "%s"}' % ("a" * 64))
    keys = KeyRing(str(tmp_path), now=asyncio.get_running_loop().time)
    async with router(cascade(tier("small", weight=1000)), {}, keys=keys) as rig:
        process = App(
            rig.state,
            refresh_secrets=lambda: False,
            loop=asyncio.get_running_loop(),
            ports=Ports("127.0.0.1", 0, 0),
        )
        running = asyncio.create_task(process.run([]))
        try:
            assert keys.counts() == {"usable": 1, "broken": 0}
            entry.unlink()
            await until(lambda: keys.counts() == {"usable": 0, "broken": 0})
        finally:
            running.cancel()


async def _ask(router: Process, request: bytes) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", router.http)
    writer.write(request)
    try:
        return await read_answer(reader)
    finally:
        writer.close()


async def test_nothing_of_prompts_answers_or_keys_is_told():
    canary = "canary-7f3a"
    secret = {**GOOD, "choices": [{"message": {"content": canary}, "finish_reason": "stop"}]}
    fields = f"connection: close\r\nauthorization: Bearer {canary}\r\n"
    async with (
        engines([reply(secret), reply({"error": {"message": canary}}, status=500)]) as (engine,),
        running({"small-svc": [engine.port]}) as router,
    ):
        await _ask(router, post(fields=fields, user=canary))
        failed = await _ask(router, post(fields=fields, user=canary))
        malformed = await _ask(router, post(f'{{"model":"chat","user":"{canary}'.encode(), fields=fields))
        numbers = await router.get("/metrics", router.metrics)

    assert (failed.status, malformed.status) == (503, 400)
    told = [
        failed.body,
        str(failed.headers).encode(),
        malformed.body,
        numbers.body,
        orjson.dumps(router.lines),
    ]
    assert not any(canary.encode() in text for text in told)


@pytest.mark.parametrize("variable", ["KUBERNETES_SERVICE_HOST"])
async def test_outside_a_cluster_it_says_what_is_missing(variable: str):
    env = {name: value for name, value in os.environ.items() if name != variable}
    status, err = await _refused(env)

    assert status == 1
    assert err.startswith(f"modelfleet-router: {variable} is not set")


WRONG = {
    # What Kubernetes sets by itself for a Service of an unlucky name.
    "MODELFLEET_LISTEN_PORT": ("tcp://10.0.0.1:80", "--port: invalid int value: 'tcp://10.0.0.1:80'"),
    "MODELFLEET_LOG_LEVEL": ("loud", "--log-level: invalid choice: 'loud'"),
}


@pytest.mark.parametrize("variable", WRONG)
async def test_setting_without_sense_is_said_in_one_line(variable: str):
    value, said = WRONG[variable]
    status, err = await _refused({**os.environ, variable: value})

    assert status == 2
    assert said in err.splitlines()[-1]


async def _refused(env: dict[str, str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modelfleet.cli.route"),
        stderr=asyncio.subprocess.PIPE,
        env={**env, "PYTHONPATH": str(OPERATOR)},
    )
    _, err = await process.communicate()
    return process.returncode, err.decode()
