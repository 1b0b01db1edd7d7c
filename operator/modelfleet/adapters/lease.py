"""Leader election by a Lease: the library's, made patient with a network that fails, and with a release.

A lease does not fence: the one who lost it may still have a write under way.  So every write that could destroy
something carries a precondition, and a leader that lost its lease leaves the process.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog
from kubernetes.aio import client
from kubernetes.aio.client import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from modelfleet.adapters.kube import KubeCluster, path
from modelfleet.api.key import Key
from modelfleet.errors import ClusterError

# A killed leader is replaced within LEASE_S + RETRY_S; one that stops well, within RETRY_S.
LEASE_S = 15
RENEW_S = 10
RETRY_S = 2
REQUEST_S = 3.0

log = structlog.get_logger(__name__)


class Leadership:
    """Runs `lead` while this process holds the Lease; returns when it is lost, raises what `lead` raised."""

    def __init__(self, cluster: KubeCluster, *, namespace: str, name: str, identity: str) -> None:
        self._cluster = cluster
        self._key = Key("Lease", namespace, name)
        self._identity = identity
        self.leading = False
        logging.getLogger("kubernetes.aio.leaderelection").setLevel(logging.CRITICAL)

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, hold it, and lead."""
        elected = asyncio.Event()

        async def won() -> None:
            elected.set()

        async def lost() -> None:
            log.error("the lease is lost", lease=self._key.name)

        lock = _PatientLock(self._key.name, self._key.namespace, self._identity, self._cluster.api)
        config = Config(lock, LEASE_S, RENEW_S, RETRY_S, onstarted_leading=won, onstopped_leading=lost)
        election = asyncio.create_task(LeaderElection(config).run(), name="election")
        try:
            await _first(asyncio.create_task(elected.wait()), election)
            log.info("leading", identity=self._identity)
            self.leading = True
            await _first(asyncio.ensure_future(lead()), election)
        finally:
            self.leading = False
            election.cancel()
            await asyncio.gather(election, return_exceptions=True)

    async def release(self) -> None:
        """Give the Lease up, so that another may lead at once.  Only what is ours, and only if it still is."""
        try:
            lease = await self._cluster.get(self._key)
            if lease is None or lease["spec"].get("holderIdentity") != self._identity:
                return
            lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._cluster.request("PUT", path(self._key), body=lease)
        except ClusterError as err:
            log.warning("the lease could not be released", error=str(err))
        else:
            log.info("released the lease", lease=self._key.name)


async def _first(work: "asyncio.Future[Any]", election: "asyncio.Task[None]") -> None:
    """Wait for either; an election that ends first ends the work."""
    try:
        await asyncio.wait({work, election}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        elif election.done():
            election.result()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class _PatientLock(LeaseLock):
    """The library only expects refusals; here a silent or broken API server is one more."""

    async def get(self, name: str, namespace: str) -> Any:
        try:
            async with asyncio.timeout(REQUEST_S):
                return await super().get(name, namespace)
        except (TimeoutError, aiohttp.ClientError, OSError) as err:
            return False, _unanswered(err)

    async def create(self, name: str, namespace: str, election_record: Any) -> bool:
        # Not the library's own: it passes an argument that its client refuses (kubernetes 37.0.2).
        meta = client.V1ObjectMeta(name=name, namespace=namespace)
        lease = client.V1Lease(metadata=meta, spec=self.update_lease(election_record))
        return await _patient(self._created(namespace, lease))

    async def _created(self, namespace: str, lease: Any) -> bool:
        try:
            await self.api_instance.create_namespaced_lease(namespace, lease)
        except ApiException as err:
            log.info("another made the lease first", reason=err.reason)
            return False
        return True

    async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        return await _patient(super().update(name, namespace, updated_record))


async def _patient(request: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(REQUEST_S):
            return await request
    except (TimeoutError, aiohttp.ClientError, OSError) as err:
        log.warning("the lease could not be written", error=repr(err))
        return False


def _unanswered(err: BaseException) -> ApiException:
    refusal = ApiException(status=0, reason=repr(err))
    refusal.body = json.dumps({"code": 0})
    return refusal
