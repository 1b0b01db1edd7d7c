"""/healthz, /readyz, /metrics and /wake of the operator over HTTP."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, disable_created_metrics, generate_latest

from modelfleet.adapters.wake_calls import WakeCalls

Handler = Callable[[web.Request], Awaitable[web.Response]]
Verdict = Callable[[], str | None]  # why not; None when all is well


class ProbeServer:
    """Answers until closed.  A verdict that is not None makes the probe fail and is its body.

    `wake(namespace, model_tier)` is told of a tier that somebody wants awake.
    """

    def __init__(
        self,
        *,
        healthy: Verdict,
        ready: Verdict,
        registry: CollectorRegistry,
        wake: Callable[[str, str], str],
    ) -> None:
        app = web.Application()
        app.router.add_get("/healthz", _probe(healthy))
        app.router.add_get("/readyz", _probe(ready))
        app.router.add_get("/metrics", _metrics(registry))
        app.router.add_post("/wake", WakeCalls(wake, time.monotonic).answer)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> None:
        """Listen."""
        await self._runner.setup()
        # When each counter was made is a series of its own that nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        await web.TCPSite(self._runner, host, port).start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._runner.addresses[0][1]
        return port

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


def _probe(verdict: Verdict) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        why_not = verdict()
        return web.Response(status=503 if why_not else 200, text=f"{why_not or 'ok'}\n")

    return answer


def _metrics(registry: CollectorRegistry) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
