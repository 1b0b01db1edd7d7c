from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from modelfleet.adapters.probes import ProbeServer


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    registry = CollectorRegistry()
    Gauge("modelfleet_operator_leading", "x", registry=registry).set(1)
    Counter("modelfleet_operator_things", "x", registry=registry).inc()
    server = ProbeServer(
        healthy=lambda: None, ready=lambda: "not listed yet", registry=registry, wake=lambda *_: "NotAsleep"
    )
    await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as made:
        yield made
    await server.close()


async def test_a_probe_says_why_not(client: httpx.AsyncClient):
    healthy, ready = await client.get("/healthz"), await client.get("/readyz")

    assert (healthy.status_code, healthy.text) == (200, "ok\n")
    assert (ready.status_code, ready.text) == (503, "not listed yet\n")


async def test_metrics(client: httpx.AsyncClient):
    answer = await client.get("/metrics")

    assert "modelfleet_operator_leading 1.0" in answer.text
    assert "modelfleet_operator_things_total 1.0" in answer.text
    assert "_created" not in answer.text
    assert answer.headers["content-type"].startswith("text/plain")
