import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from modelfleet.adapters.probes import ProbeServer
from modelfleet.adapters.wake_calls import BODY_BYTES_MAX, BURST, WakeCalls

CALL = {"namespace": "chat", "modelTier": "small"}


class Operator:
    """What takes the calls, and what it says of them."""

    def __init__(self) -> None:
        self.says = "Accepted"
        self.called: list[tuple[str, str]] = []

    def wake(self, namespace: str, model_tier: str) -> str:
        self.called.append((namespace, model_tier))
        return self.says


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
async def client(operator: Operator) -> AsyncIterator[httpx.AsyncClient]:
    server = ProbeServer(
        healthy=lambda: None, ready=lambda: None, registry=CollectorRegistry(), wake=operator.wake
    )
    await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as made:
        yield made
    await server.close()


ANSWERS = {"Accepted": 202, "NotAsleep": 404, "NotLeader": 409}


@pytest.mark.parametrize(("outcome", "status"), ANSWERS.items())
async def test_a_call_is_handed_on(operator: Operator, client: httpx.AsyncClient, outcome: str, status: int):
    operator.says = outcome
    answer = await client.post("/wake", json=CALL)

    assert (answer.status_code, answer.json()) == (status, {"outcome": outcome})
    assert operator.called == [("chat", "small")]


BAD = {
    "no JSON": b"wake up",
    "no object": b"[]",
    "half a name": b'{"namespace": "chat"}',
    "names that are none": b'{"namespace": 1, "modelTier": null}',
    "not UTF-8": b"\xff\xfe{}",
    "too long": json.dumps({**CALL, "more": "x" * BODY_BYTES_MAX}).encode(),
    "too deep": b"[" * 900,
    "nothing": b"",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_what_is_no_call_goes_no_further(operator: Operator, client: httpx.AsyncClient, body: bytes):
    answer = await client.post("/wake", content=body)

    assert answer.status_code == 400
    assert operator.called == []


async def test_a_call_without_its_length_is_none(operator: Operator, client: httpx.AsyncClient):
    async def pieces() -> AsyncIterator[bytes]:
        yield json.dumps(CALL).encode()

    answer = await client.post("/wake", content=pieces())

    assert (answer.status_code, operator.called) == (400, [])


async def test_a_call_that_does_not_end_is_given_up(operator: Operator, client: httpx.AsyncClient):
    url = client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /wake HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    assert b" 400 " in await reader.readline()
    writer.close()

    assert operator.called == []


async def test_no_more_than_a_burst_of_calls_gets_through_at_once(operator: Operator):
    now_s = [0.0]
    app = web.Application()
    app.router.add_post("/wake", WakeCalls(operator.wake, lambda: now_s[0]).answer)
    async with TestClient(TestServer(app)) as client:
        for _ in range(int(BURST)):
            assert (await client.post("/wake", json=CALL)).status == 202
        refused = await client.post("/wake", json=CALL)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        now_s[0] = 1.0
        assert (await client.post("/wake", json=CALL)).status == 202
