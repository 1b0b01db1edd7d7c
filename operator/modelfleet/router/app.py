"""The router as a process: ports, housekeeping, and an end that loses no request."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from modelfleet.router import bodies, sockets
from modelfleet.router.server import Server
from modelfleet.router.service import Insight, Service
from modelfleet.router.state import State

_log = logging.getLogger(__name__)

# Kubernetes takes a terminating pod out of the Services while it already has its SIGTERM.
ACCEPT_AFTER_TERM_S = 5.0
# A kept-alive connection that was silent for so long will hardly carry a request in the moment it is closed.
QUIET_S = 5.0
_HOUSEKEEPING_S = 0.5
_SECRETS_EVERY = 4  # rounds of housekeeping
_DRAIN_STEP_S = 0.05
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen.  0 takes a free port."""

    host: str
    http: int
    metrics: int


class App:
    """Listens, keeps house, drains."""

    def __init__(
        self,
        state: State,
        *,
        refresh_secrets: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
        ports: Ports,
    ) -> None:
        self._state = state
        self._refresh = refresh_secrets
        self._loop = loop
        self._ports = ports
        service = Service(state, loop=loop)
        part_bytes = bodies.bytes_max()
        service.bodies.bound(part_bytes)
        self._server = Server(
            service.on_request,
            loop=loop,
            body_bytes_max=service.body_bytes_max,
            on_refused=service.on_refused,
        )
        self._server.crowd.shrink(part_bytes)
        insight = Insight(state, state.metrics.registry(), loop=loop)
        self._insight = Server(
            insight.on_request, loop=loop, body_bytes_max=lambda: 0, on_refused=lambda _: None
        )
        self._stop = asyncio.Event()
        self.bound: Ports | None = None

    def stop(self) -> None:
        """Begin to drain; what SIGTERM does."""
        self._stop.set()

    async def run(self, watches: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Serve until told to stop, then drain."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        self._server.crowd.clients_max = sockets.clients_max()
        host = self._ports.host
        listening = await self._loop.create_server(
            self._server.connection, host, self._ports.http, backlog=_BACKLOG
        )
        insight = await self._loop.create_server(self._insight.connection, host, self._ports.metrics)
        self.bound = Ports(host, _port(listening), _port(insight))
        self._state.listening = True
        _log.info("listening", extra={"http": self.bound.http, "metrics": self.bound.metrics})
        tasks = [self._loop.create_task(watch) for watch in (*watches, self._keep_house())]
        await self._stop.wait()
        await self._drain(listening)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        insight.close()
        _log.info("stopped")

    async def _keep_house(self) -> None:
        for rounds in count(1):
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                self._round(refresh=rounds % _SECRETS_EVERY == 0)
            except Exception:  # noqa: BLE001 - logged with its traceback
                # A fault of ours must not leave slow clients and rotated keys unattended for ever.
                _log.exception("housekeeping failed")

    def _round(self, *, refresh: bool) -> None:
        now_s = self._loop.time()
        self._server.crowd.sweep(now_s)
        self._insight.crowd.sweep(now_s)
        self._state.sweep(now_s)
        if not refresh:
            return
        if self._state.keys is not None:
            self._state.keys.refresh()
        if self._refresh():
            self._state.secrets_changed()

    async def _drain(self, listening: asyncio.AbstractServer) -> None:
        """Off the Services at once, listening a little longer, then out as the last client leaves."""
        _log.info("draining", extra={"connections": len(self._server.crowd.clients)})
        self._state.draining = True
        self._server.draining = True
        await asyncio.sleep(ACCEPT_AFTER_TERM_S)
        listening.close()
        # How long a request may take is its Cascade's deadline; the pod's grace period is longer than that.
        while self._server.crowd.clients:
            self._server.crowd.close_idle(idle_since_s=self._loop.time() - QUIET_S)
            await asyncio.sleep(_DRAIN_STEP_S)


def _port(server: asyncio.AbstractServer) -> int:
    port: int = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    return port
