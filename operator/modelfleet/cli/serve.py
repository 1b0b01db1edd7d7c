"""Puts the operator together and runs it: watches and lists always, the loops while it leads."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import kopf
import structlog
from prometheus_client import REGISTRY

from modelfleet import __version__
from modelfleet.adapters import readings, router_reports
from modelfleet.adapters.clock import SystemClock
from modelfleet.adapters.direct import DirectMetrics
from modelfleet.adapters.events import KubeEvents
from modelfleet.adapters.hub import ModelHub
from modelfleet.adapters.kube import KubeCluster
from modelfleet.adapters.lease import Leadership
from modelfleet.adapters.pages import Pages
from modelfleet.adapters.probes import ProbeServer
from modelfleet.adapters.prometheus import PrometheusMetrics
from modelfleet.adapters.user_queries import UserQueries
from modelfleet.adapters.workloads import KubeWorkloads
from modelfleet.api.meta import Manifest, seconds
from modelfleet.control import adopted, handlers
from modelfleet.control.capacity.loop import CapacityLoop, World
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.capacity.sources import Sources
from modelfleet.control.capacity.targets import targets
from modelfleet.control.context import Context, FleetSettingsCell
from modelfleet.control.health import Health
from modelfleet.control.metrics import StructureMetrics
from modelfleet.control.ports import Key
from modelfleet.control.queue import WorkQueue
from modelfleet.control.resync import Resync
from modelfleet.control.router import ROUTER, reconcile_router
from modelfleet.control.settings_watch import SettingsWatch
from modelfleet.control.tier import reconcile_tier
from modelfleet.control.view import MemoryView
from modelfleet.errors import ClusterError
from modelfleet.plan.snapshot import Name
from modelfleet.settings import Settings

METRICS_S = 1.0
KINDS_RETRY_S = 2.0
SPARE_CONNECTIONS = 16  # for the capacity loop, lists and Events beside the workers
KOPF_STOP_S = 5.0

log = structlog.get_logger(__name__)


def configure_logging(settings: Settings) -> None:
    """One line per event on standard error, our own and the libraries'."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass
class Operator:
    """The parts, joined.  `stop` ends `run`; what it returns is the process's exit status."""

    settings: Settings
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Run until told to stop (0) or until the lease is lost or a part dies (1)."""
        async with AsyncExitStack() as stack:
            timeout_s, connections = self.settings.api_timeout_s, self.settings.workers + SPARE_CONNECTIONS
            cluster = await stack.enter_async_context(
                KubeCluster(timeout_s=timeout_s, connections=connections)
            )
            # Connections of its own: a busy queue must not keep the lease waiting.
            for_lease = await stack.enter_async_context(KubeCluster(timeout_s=timeout_s))
            hub, pages = ModelHub(), Pages(router_reports.SERIES | readings.SERIES, time.monotonic)
            stack.push_async_callback(hub.close)
            stack.push_async_callback(pages.close)
            self._join(cluster, hub, pages)
            await self._probes.start(self.settings.listen_host, self.settings.listen_port)
            stack.push_async_callback(self._probes.close)
            stack.callback(self.prometheus.close)
            self._take_signals()
            await self._kinds_served(cluster)
            return 0 if self.stop.is_set() else await self._run(for_lease)

    def _join(self, cluster: KubeCluster, hub: ModelHub, pages: Pages) -> None:
        clock, reports = SystemClock(), router_reports.RouterReports(pages)
        self.metrics = StructureMetrics(REGISTRY)
        self.ctx = Context(
            view=MemoryView(),
            cluster=cluster,
            events=KubeEvents(cluster, clock.now_s, instance=self.settings.identity),
            hub=hub,
            reports=reports,
            workloads=KubeWorkloads(cluster),
            clock=clock,
            settings=FleetSettingsCell(),
            resync_s=self.settings.resync_s,
            wake=self.settings.wake_addresses,
            touched=self._touched,
            again=self._again,
        )
        self.queue = WorkQueue(
            self._reconcile, clock, workers=self.settings.workers, observer=self.metrics.reconciled
        )
        instruments = CapacityMetrics(REGISTRY)
        self.prometheus = PrometheusMetrics(
            lambda: self.ctx.settings.now.prometheus,
            lambda: targets(self.ctx.view),
            observe_query=instruments.observe_query,
        )
        self.direct = DirectMetrics(
            pages,
            lambda: targets(self.ctx.view),
            time.monotonic,
            spare=lambda: sources.stored,
            glance=lambda load: self.capacity.glance(load),  # noqa: PLW0108  it is made below
        )
        sources = Sources(self.prometheus, self.direct, instruments=instruments)
        world = World(
            view=self.ctx.view,
            cluster=cluster,
            events=self.ctx.events,
            clock=clock,
            metrics=sources,
            routers=reports,
            queries=UserQueries(
                lambda: self.ctx.settings.now.prometheus, observe_query=instruments.observe_query
            ),
            settings=lambda: self.ctx.settings.now,
        )
        self.capacity = CapacityLoop(
            world,
            interval_s=lambda: seconds(self.ctx.settings.now.capacity.interval),
            instruments=instruments,
        )
        self.resync = Resync(self.ctx, namespaces=self.settings.watch_namespaces, add=self.queue.add)
        where = Key("ConfigMap", self.settings.namespace, self.settings.settings_config_map)
        self.settings_watch = SettingsWatch(self.ctx, where, self._settings_changed)
        health = Health(self.ctx, self.queue, self.resync.synced.is_set)
        self._probes = ProbeServer(
            healthy=health.unhealthy,
            ready=health.not_ready,
            registry=REGISTRY,
            wake=lambda namespace, tier: self.capacity.wake(Name(namespace, tier)),
        )

    async def _run(self, for_lease: KubeCluster) -> int:
        leadership = Leadership(
            for_lease,
            namespace=self.settings.namespace,
            name=self.settings.lease_name,
            identity=self.settings.identity,
        )
        watching = asyncio.Event()
        kopf_stop = asyncio.Event()
        watches = asyncio.create_task(self._watch(watching, kopf_stop), name="kopf")
        await asyncio.wait(
            {watches, asyncio.create_task(watching.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        self._take_signals()
        parts = [
            asyncio.create_task(part, name=name)
            for name, part in {
                "resync": self.resync.run(),
                "settings": self.settings_watch.run(),
                "gauges": self._show_gauges(leadership),
                "lead": self._lead(leadership),
            }.items()
        ]
        told = asyncio.create_task(self.stop.wait())
        log.info("started", version=__version__, identity=self.settings.identity)
        done, _ = await asyncio.wait({*parts, watches, told}, return_when=asyncio.FIRST_COMPLETED)
        for ended in done - {told}:
            log.error("a part of the operator ended", part=ended.get_name(), error=_error(ended))
        # First the work, then the lease, then the watches: the next leader starts while we still tidy up.
        for part in (*parts, told):
            part.cancel()
        await asyncio.gather(*parts, told, return_exceptions=True)
        if self.settings.leader_election:
            await leadership.release()
        kopf_stop.set()
        with suppress(TimeoutError, asyncio.CancelledError, Exception):
            await asyncio.wait_for(watches, KOPF_STOP_S)
        return 0 if done == {told} else 1

    async def _kinds_served(self, cluster: KubeCluster) -> None:
        """Wait until the API server serves our kinds: kopf looks for them once, when it starts."""
        while not self.stop.is_set():
            try:
                for kind in ("ModelTier", "Cascade"):
                    await cluster.list(kind, namespace=next(iter(self.settings.watch_namespaces), None))
            except ClusterError as err:
                log.warning("waiting for the API server to serve our kinds", error=str(err))
            else:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), KINDS_RETRY_S)

    async def _watch(self, ready: asyncio.Event, stop: asyncio.Event) -> None:
        registry = kopf.OperatorRegistry()
        handlers.register(registry, self.ctx.view, self.queue.add, self._watched)
        settings = kopf.OperatorSettings()
        handlers.watch_settings(settings)
        await kopf.operator(
            registry=registry,
            settings=settings,
            standalone=True,
            # kopf's own guess asks the passwd file, which does not know the user of a restricted pod.
            identity=self.settings.identity,  # type: ignore[arg-type]  # a NewType that kopf does not export
            clusterwide=not self.settings.watch_namespaces,
            namespaces=self.settings.watch_namespaces,
            ready_flag=ready,
            stop_flag=stop,
        )

    async def _lead(self, leadership: Leadership) -> None:
        await self.resync.synced.wait()
        await self.settings_watch.read.wait()
        if not self.settings.leader_election:
            await self._loops()
            return
        await leadership.run(self._loops)

    async def _loops(self) -> None:
        adopted.recall(self.ctx)
        for key in handlers.everything(self.ctx.view):
            self.queue.add(key)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self.queue.run(), name="structure")
            loops.create_task(self.capacity.run(), name="capacity")
            loops.create_task(self.direct.run(), name="readings")

    async def _reconcile(self, key: Key) -> float | None:
        work: Callable[[Key, Context], Awaitable[float | None]]
        work = reconcile_router if key.kind == ROUTER else reconcile_tier
        return await work(key, self.ctx)

    def _touched(self, item: Manifest) -> None:
        for key in handlers.dependents(self.ctx.view, item):
            self.queue.add(key)

    def _again(self, key: Key) -> None:
        self.queue.add(key)

    def _watched(self, item: Manifest) -> None:
        """A pod became ready or vanished, or somebody wants something else: weights do not wait for the timer."""
        if item["kind"] in ("Cascade", "ModelTier", "Pod"):
            self.capacity.kick()

    def _settings_changed(self) -> None:
        self.metrics.settings(self.ctx.settings.now)
        for key in handlers.everything(self.ctx.view):
            self.queue.add(key)

    async def _show_gauges(self, leadership: Leadership) -> None:
        while True:
            self.metrics.leading.set(leadership.leading or not self.settings.leader_election)
            self.metrics.queue_depth.set(self.queue.depth())
            self.metrics.watch_overdue.set(self.ctx.view.overdue_s(self.ctx.clock.now_s()))
            self.metrics.settings_broken.set(self.ctx.settings.problem is not None)
            await asyncio.sleep(METRICS_S)

    def _take_signals(self) -> None:
        """Take back what kopf took for itself: the lease goes before the watches."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.stop.set)


def _error(task: "asyncio.Task[Any]") -> str:
    if task.cancelled():
        return "cancelled"
    return repr(task.exception()) if task.exception() else "it returned"


async def serve(settings: Settings) -> int:
    """Run the operator; returns the process's exit status."""
    return await Operator(settings).run()
