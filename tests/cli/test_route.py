"""The router's command against a real API server: what is applied with kubectl is what requests meet."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import openai
import orjson
import pytest

from e2e.cluster.controlplane import ControlPlane
from modelfleet import names
from modelfleet.api.route_table import ExternalTarget, RouteTable, TierRoute
from tests.router.rig import (
    GOOD,
    GOOD_STREAM,
    ROUTER,
    Engine,
    cascade,
    config_map,
    engines,
    reply,
    stream,
    tier,
)

OPERATOR = Path(__file__).parents[2] / "operator"
NAMESPACE = "routed"
TABLE = names.route_table(ROUTER)
PATIENCE_S = 20.0
MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "hi"}]


@dataclass
class Proxy:
    """The API server without TLS on loopback, by `kubectl proxy`."""

    process: asyncio.subprocess.Process
    url: str


@asynccontextmanager
async def proxied(control_plane: ControlPlane) -> AsyncIterator[Proxy]:
    process = await asyncio.create_subprocess_exec(
        str(control_plane.assets / "kubectl"),
        *("--kubeconfig", str(control_plane.kubeconfig), "proxy", "--port=0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Proxy(process, "http://" + (await process.stdout.readline()).decode().split()[-1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Router:
    """A running router."""

    process: asyncio.subprocess.Process
    url: str = ""

    async def log(self, *messages: str) -> None:
        """Wait for the next lines with all these messages."""
        wanted = set(messages)
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while wanted:
                line = orjson.loads(await self.process.stdout.readline())
                wanted.discard(line["message"])
                if line["message"] == "listening":
                    self.url = f"http://127.0.0.1:{line['http']}/v1"

    async def endpoints(self) -> dict[str, int]:
        """The next change of the endpoints of Services that are not the operator's."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = orjson.loads(await self.process.stdout.readline())
                if line["message"] == "endpoints of existing Services changed":
                    found: dict[str, int] = line["replicas"]
                    return found


@asynccontextmanager
async def running(api: str) -> AsyncIterator[Router]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modelfleet.cli.route", "--api-server", api, "--namespace", NAMESPACE),
        *("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
    )
    try:
        yield Router(process)
    finally:
        process.kill()
        await process.wait()


def _tier(name: str, engine: Engine, weight: int) -> TierRoute:
    # The API server takes no loopback address as an endpoint, so the engines stand outside the fleet.
    target = ExternalTarget(f"http://127.0.0.1:{engine.port}/v1", None, None)
    return tier(name, weight=weight, external=target)


def _manifest(small: Engine, big: Engine, *, weight: int) -> str:
    table = RouteTable((cascade(_tier("small", small, weight), _tier("big", big, 1000 - weight)),))
    return _config_map(config_map(table)[TABLE]["data"])


def _config_map(data: dict[str, str]) -> str:
    metadata = {"name": TABLE, "namespace": NAMESPACE}
    return orjson.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    ).decode()


@pytest.mark.controlplane
async def test_weights_move_under_the_official_client_and_the_table_outlives_everything(
    control_plane: ControlPlane,
):
    async def apply(manifest: str) -> None:
        await asyncio.to_thread(control_plane.kubectl, "apply", "-f", "-", stdin=manifest)

    await asyncio.to_thread(control_plane.kubectl, "create", "namespace", NAMESPACE)
    async with engines([reply(GOOD)], [reply(GOOD)]) as (small, big), proxied(control_plane) as proxy:
        await apply(_manifest(small, big, weight=1000))
        async with running(proxy.url) as router:
            await router.log("listening", "route table loaded", "endpoints changed")
            client = openai.AsyncOpenAI(base_url=router.url, api_key="mine", max_retries=0)
            for weight, want in ((1000, "small"), (0, "big"), (1000, "small")):
                await apply(_manifest(small, big, weight=weight))
                await _entered(client, want)
            await apply(_config_map({names.ROUTE_TABLE_KEY: "{"}))
            await router.log("route table is broken, keeping the last one")
            proxy.process.kill()
            await router.log("watch lost, beginning again")
            await _entered(client, "small")
            assert [model.id async for model in client.models.list()] == ["chat"]
            await client.close()


async def _entered(client: openai.AsyncOpenAI, tier_name: str) -> None:
    """Ask until this tier answers; every answer on the way must be a good one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.chat.completions.with_raw_response.create(model="chat", messages=MESSAGES)  # type: ignore[arg-type]
            assert answer.parse().choices[0].message.content == "hello"
            if answer.headers["x-modelfleet-tier"] == tier_name:
                return


@pytest.mark.controlplane
async def test_official_client_reads_streams_and_errors(control_plane: ControlPlane):
    await asyncio.to_thread(control_plane.kubectl, "create", "namespace", NAMESPACE)
    broken = stream(GOOD_STREAM[0])
    async with (
        engines([stream(*GOOD_STREAM), broken, reply(GOOD)], []) as (small, big),
        proxied(control_plane) as proxy,
    ):
        manifest = _manifest(small, big, weight=1000)
        await asyncio.to_thread(control_plane.kubectl, "apply", "-f", "-", stdin=manifest)
        async with running(proxy.url) as router:
            await router.log("listening", "route table loaded", "endpoints changed")
            client = openai.AsyncOpenAI(base_url=router.url, api_key="mine", max_retries=0)
            whole = await _streamed(client)
            with pytest.raises(openai.APIError, match="broke off"):
                await _streamed(client)
            with pytest.raises(openai.NotFoundError, match="Models here: chat"):
                await client.chat.completions.create(model="nope", messages=MESSAGES)  # type: ignore[arg-type]
            await client.close()

    assert whole == "ab"


async def _streamed(client: openai.AsyncOpenAI) -> str:
    events = await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)  # type: ignore[arg-type]
    return "".join([event.choices[0].delta.content or "" async for event in events])


def _slice(service: str, port_name: str) -> str:
    metadata = {
        "name": f"{service}-1",
        "namespace": NAMESPACE,
        "labels": {names.LABEL_SERVICE: service},
    }
    piece = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": 8000}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }
    return orjson.dumps(piece).decode()


@pytest.mark.controlplane
async def test_services_of_others_are_followed_as_the_table_names_them(control_plane: ControlPlane):
    async def apply(manifest: str) -> None:
        await asyncio.to_thread(control_plane.kubectl, "apply", "-f", "-", stdin=manifest)

    def over(*services: str) -> str:
        weights = [1000, *[0] * (len(services) - 1)]
        steps = [
            replace(tier(each, weight=weight, service_port="api"), service=each)
            for each, weight in zip(services, weights, strict=True)
        ]
        return _config_map(config_map(RouteTable((cascade(*steps),)))[TABLE]["data"])

    await asyncio.to_thread(control_plane.kubectl, "create", "namespace", NAMESPACE)
    await apply(_slice("qwen", "api"))
    await apply(_slice("llama", "api"))
    async with proxied(control_plane) as proxy:
        await apply(over("qwen"))
        async with running(proxy.url) as router:
            assert await router.endpoints() == {"qwen:api": 1}
            await apply(over("qwen", "llama"))
            assert await router.endpoints() == {"llama:api": 1, "qwen:api": 1}
            await asyncio.to_thread(
                control_plane.kubectl, "delete", "endpointslice", "qwen-1", "-n", NAMESPACE
            )
            assert await router.endpoints() == {"llama:api": 1}
