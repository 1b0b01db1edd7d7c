"""Two sources of load behind one port: a metrics store where there is one that answers, and what is read directly."""

import asyncio
from typing import Protocol

import structlog

from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.errors import MetricsError
from modelfleet.plan.load import FleetLoad
from modelfleet.plan.sources import merged

_LOG = structlog.get_logger("modelfleet.capacity")
# After a failure a store must have answered so often in a row: one that comes and goes would turn every status over.
LOOKS_STEADY = 4

# How much longer than the answer of the one that is used the other may take: of pods that nobody reaches, and of a
# store that is deaf, it takes ten seconds.
PATIENCE_S = 2.5


class Direct(Protocol):
    """A reading of routers and engines."""

    async def load(self, *, since_s: float) -> FleetLoad:
        """One look.  Raises MetricsError."""


class Stored(Direct, Protocol):
    """A metrics store."""

    @property
    def configured(self) -> bool:
        """Whether there is anybody to ask."""


class Sources:
    """The load of the fleet (see capacity.Metrics)."""

    def __init__(self, store: Stored, direct: Direct, *, instruments: CapacityMetrics) -> None:
        self._store = store
        self._direct = direct
        self._instruments = instruments
        self._answered = LOOKS_STEADY  # looks in a row in which the store answered

    @property
    def stored(self) -> bool:
        """Whether the store is used at the time."""
        return self._store.configured and self._answered >= LOOKS_STEADY

    async def load(self, *, since_s: float) -> FleetLoad:
        """One look, by both at once.  Raises MetricsError when neither answers."""
        load = self._chosen(*await self._both(since_s))
        for source in ("Prometheus", "Direct"):
            tiers = sum(tier.source == source for tier in load.tiers.values())
            self._instruments.metrics_source.labels(source).set(tiers)
        return load

    async def _both(self, since_s: float) -> tuple[FleetLoad | None, FleetLoad | MetricsError]:
        """What each says.  The one that is not used at the time gets little time beyond the other's answer."""
        asking = asyncio.create_task(self._ask_store(since_s))
        reading = asyncio.create_task(self._read(since_s))
        try:
            found = await asking if self.stored else await reading
            await asyncio.wait(
                {asking, reading}, timeout=PATIENCE_S if isinstance(found, FleetLoad) else None
            )
            if not asking.done():
                self._answered = 0
            return (
                asking.result() if asking.done() else None,
                reading.result() if reading.done() else MetricsError("pods are slow to answer"),
            )
        finally:
            asking.cancel()
            reading.cancel()

    def _chosen(self, stored: FleetLoad | None, read: FleetLoad | MetricsError) -> FleetLoad:
        if isinstance(read, MetricsError):
            if stored is None:
                raise read
            return stored
        return read if stored is None or self._answered < LOOKS_STEADY else merged(stored, read)

    async def _ask_store(self, since_s: float) -> FleetLoad | None:
        if not self._store.configured:
            return None
        try:
            load = await self._store.load(since_s=since_s)
        except MetricsError as err:
            self._instruments.query_errors.inc()
            if self._answered:
                _LOG.warning("Prometheus lost, reading routers and engines directly", error=str(err))
            self._answered = 0
            return None
        if self._answered == LOOKS_STEADY - 1:
            _LOG.info("Prometheus answers again")
        self._answered = min(LOOKS_STEADY, self._answered + 1)
        return load

    async def _read(self, since_s: float) -> FleetLoad | MetricsError:
        try:
            return await self._direct.load(since_s=since_s)
        except MetricsError as err:
            return err
