"""Routers as processes, and the Service before them."""

import asyncio
import itertools
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.load.site import Plane
from bench.router import processes
from bench.router.targets import PROXY_CPU, Site, ours, pinned
from e2e.cluster.controlplane import free_ports
from modelfleet import names

START_S_MAX = 30.0
POLL_S = 0.1
# Kubernetes takes a terminating pod out of its slices at once; kube-proxy has written its rules a moment later.
SERVICE_LAG_S = 1.0


@dataclass
class Router:
    """A running `modelfleet-router`."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def rss_mib(self) -> float:
        return processes.rss_mib(processes.tree(self.process.pid))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def gone(self) -> None:
        """Until it has ended by itself."""
        while self.process.poll() is None:  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(POLL_S)

    def ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def router(plane: Plane, folder: Path) -> Iterator[Router]:
    """A router that watches this API server; wait until it is `ready`."""
    port, insight = free_ports(2)
    plan = ours(names.SHARED_ROUTER)(Site(folder, (0, 0), plane.control), port)
    log = folder / f"router-{port}.log"
    environment = {**plan.environment, "MODELFLEET_LISTEN_METRICS_PORT": str(insight)}
    with pinned(plan.command, PROXY_CPU, environment=environment, log=log) as process:
        yield Router(port, process, log)


@asynccontextmanager
async def ready_router(plane: Plane, folder: Path) -> AsyncIterator[Router]:
    with router(plane, folder) as found:
        await until_ready(found)
        yield found


async def until_ready(found: Router) -> None:
    async with asyncio.timeout(START_S_MAX):
        while not await asyncio.to_thread(found.ready):
            if found.process.poll() is not None:
                raise RuntimeError(f"the router ended: {found.log.read_text()[-500:]}")
            await asyncio.sleep(POLL_S)


class Service:
    """What kube-proxy does: each new connection goes to one of the endpoints, in turn, and stays there.

    It does not look at requests, does not retry, and sends to an endpoint that is gone until its slices say so.
    """

    def __init__(self) -> None:
        self.endpoints: list[int] = []
        self.port = 0
        self._turn = itertools.count()
        self.carried: Counter[int] = Counter()  # open connections, by endpoint
        self.opened: Counter[int] = Counter()  # all so far
        self.refused = 0  # connections that no endpoint took
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """When the last connection has ended."""
        if self._server is not None:
            self._server.close()
        while self.carried.total():  # noqa: ASYNC110 - soon over
            await asyncio.sleep(POLL_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoint = self.endpoints[next(self._turn) % len(self.endpoints)]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", endpoint)
        except OSError:
            self.refused += 1
            writer.transport.abort()
            return
        self.carried[endpoint] += 1
        self.opened[endpoint] += 1
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            self.carried[endpoint] -= 1


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
