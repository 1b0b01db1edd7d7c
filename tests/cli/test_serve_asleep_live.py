"""The whole operator and its router as processes: what routers tell scales tiers and wakes them."""

import asyncio
import functools
import json
import sys
import time
from collections.abc import Callable

import httpx
import pytest

from e2e.cluster.controlplane import free_ports
from tests.cli.operator_process import LIMIT_S, Cluster, Operator, cascade, tier, until

pytestmark = pytest.mark.controlplane

SLEEPY = {
    "minReplicas": 0,
    "maxReplicas": 3,
    "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}],
    "idle": {"after": "3s"},
}


def asleep(cluster: Cluster) -> bool:
    return (
        cluster.conditions("modeltier", "small").get("Cold") == "True/Idle"
        and cluster.get("deployment", "small-tier")["spec"]["replicas"] == 0
    )


def woken_after_s(cluster: Cluster, url: str) -> float:
    """Seconds from a request to the decision to have a replica for it; the request is given up then."""

    async def ask() -> float:
        async with httpx.AsyncClient(timeout=LIMIT_S) as client:
            body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            began_s = time.monotonic()
            waits = asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body))
            seen = asyncio.to_thread(
                until, lambda: cluster.get("modeltier", "small")["status"]["desiredReplicas"] == 1
            )
            await seen
            took_s = time.monotonic() - began_s
            assert not waits.done(), "it waits for the first replica"
            waits.cancel()
            return took_s

    return asyncio.run(ask())


def test_a_tier_sleeps_and_is_woken_by_a_request(
    cluster: Cluster, start: Callable[..., Operator], router: Callable[[], str]
):
    ports = free_ports(2)
    cluster.configure("capacity: {interval: 1s}")
    wake = json.dumps([f"127.0.0.1:{port}" for port in ports])
    leader, _ = (start(LISTEN_PORT=str(port), WAKE_ADDRESSES=wake) for port in ports)
    cluster.apply(tier(scaling=SLEEPY), cascade())
    url = router()
    until(functools.partial(asleep, cluster))
    assert cluster.conditions("modeltier", "small")["Ready"] == "True/ScaledToZero"
    assert cluster.conditions("cascade", "chat")["TiersReady"] == "True/TiersReady"

    sys.stdout.write(f"from a request to the decision: {woken_after_s(cluster, url):.3f} s\n")
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 1)
    assert cluster.get("modeltier", "small")["status"]["lastScale"]["reason"] == "WokenUp"
    assert cluster.conditions("modeltier", "small")["Cold"] == "True/WokenUp"

    # Nobody asked again: it sleeps as long after it woke.  Then the one who leads goes, and the other one wakes it.
    until(functools.partial(asleep, cluster))
    leader.stop()
    sys.stdout.write(f"while leaders change: {woken_after_s(cluster, url):.3f} s\n")
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 1)


async def ask_at_once(url: str, requests: int, until_true: Callable[[], bool]) -> None:
    """So many requests that wait, until something is seen."""
    async with httpx.AsyncClient(timeout=LIMIT_S) as client:
        body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        asked = [
            asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body)) for _ in range(requests)
        ]
        await asyncio.to_thread(until, until_true)
        for one in asked:
            one.cancel()


def test_without_a_metrics_store_what_the_router_tells_is_scaled_by(
    cluster: Cluster, start: Callable[..., Operator], router: Callable[[], str]
):
    operator = start()
    cluster.apply(tier(scaling=SLEEPY), cascade())
    url = router()
    until(functools.partial(asleep, cluster))

    def grown() -> bool:
        return cluster.get("modeltier", "small")["status"].get("desiredReplicas") == 3

    asyncio.run(ask_at_once(url, 9, grown))

    status = cluster.get("modeltier", "small")["status"]
    (active,) = (one for one in status["conditions"] if one["type"] == "ScalingActive")
    assert status["lastScale"]["reason"] == "ConcurrencyAboveTarget"
    assert active["message"].endswith("as routers and engines tell directly")
    answer = operator.ask("/metrics")
    assert answer is not None
    assert 'modelfleet_operator_metrics_source{source="Direct"} 1.0' in answer.text
    assert "modelfleet_operator_prometheus_query_errors_total 0.0" in answer.text


def test_a_forged_call_wakes_nothing_else(cluster: Cluster, start: Callable[..., Operator]):
    operator = start()
    cluster.apply(tier(), tier("alone", scaling={**SLEEPY, "idle": {}}, replicas=0))
    until(lambda: cluster.conditions("modeltier", "alone").get("Cold") == "True/Idle")

    for name in ("small", "alone", "nobody"):
        call = {"namespace": cluster.namespace, "modelTier": name}
        answer = httpx.post(f"http://127.0.0.1:{operator.port}/wake", json=call)
        assert (answer.status_code, answer.json()) == (404, {"outcome": "NotAsleep"})
    assert cluster.get("modeltier", "alone")["status"]["desiredReplicas"] == 0
