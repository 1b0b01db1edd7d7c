import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from modelfleet.adapters.kube import KubeCluster
from modelfleet.adapters.lease import Leadership
from modelfleet.api.key import Key
from modelfleet.errors import ClusterError

pytestmark = pytest.mark.controlplane
LIMIT_S = 40.0


class Candidate:
    """One of two operators; `leading` is set while it leads."""

    def __init__(self, cluster: KubeCluster, namespace: str, identity: str) -> None:
        self.leading = asyncio.Event()
        self.leadership = Leadership(cluster, namespace=namespace, name="op", identity=identity)
        self.task = asyncio.create_task(self.leadership.run(self._lead))

    async def _lead(self) -> None:
        self.leading.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.clear()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def led(candidate: Candidate) -> None:
    await asyncio.wait_for(candidate.leading.wait(), LIMIT_S)


@pytest.fixture
def candidate(cluster: KubeCluster, namespace: str) -> Callable[[str], Candidate]:
    return lambda identity: Candidate(cluster, namespace, identity)


async def test_one_leads_and_a_clean_stop_hands_over(
    candidate: Callable[[str], Candidate], cluster: KubeCluster, namespace: str
):
    first = candidate("first")
    await led(first)
    second = candidate("second")

    assert not second.leading.is_set()
    await first.stop()
    assert not first.leadership.leading
    await first.leadership.release()
    await led(second)

    lease = await cluster.get(Key("Lease", namespace, "op"))
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "second"

    await first.leadership.release()  # Not ours any more: nothing happens.
    kept = await cluster.get(Key("Lease", namespace, "op"))
    assert kept is not None
    assert kept["spec"]["holderIdentity"] == "second"
    await second.stop()


async def test_a_leader_that_vanished_is_replaced(candidate: Callable[[str], Candidate]):
    first = candidate("first")
    await led(first)
    second = candidate("second")
    await first.stop()  # Without a release, as after a kill.

    await led(second)
    await second.stop()


async def test_what_the_leader_raises_is_raised(cluster: KubeCluster, namespace: str):
    leadership = Leadership(cluster, namespace=namespace, name="op", identity="first")

    async def fail() -> None:
        raise RuntimeError("a part died")

    with pytest.raises(RuntimeError, match="a part died"):
        await asyncio.wait_for(leadership.run(fail), LIMIT_S)


async def test_a_lost_lease_ends_the_work(
    cluster: KubeCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("modelfleet.adapters.lease.RENEW_S", 3)
    one = Candidate(cluster, namespace, "one")
    await led(one)
    taken = {"spec": {"holderIdentity": "usurper", "leaseDurationSeconds": 3600}}
    url = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/op"
    await cluster.request("PATCH", url, body=taken, content_type="application/merge-patch+json")

    await asyncio.wait_for(one.task, LIMIT_S)

    assert not one.leading.is_set()


class Gone:
    """An API server that has left before us."""

    async def get(self, key: Key) -> None:
        raise ClusterError(f"no answer about {key.name}")


async def test_a_release_that_nobody_hears_does_not_stop_the_stop():
    cluster = cast("KubeCluster", Gone())

    await Leadership(cluster, namespace="any", name="op", identity="first").release()
