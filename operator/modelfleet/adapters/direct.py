"""The load of the fleet without a metrics store: the operator reads routers and engines itself, every few seconds.

It fills the same rows (queries.py) from the same series as Prometheus would.  What it knows begins when it begins to
read: a window that is not full yet is as long as it is, and before two readings it knows nothing.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from modelfleet.adapters import queries
from modelfleet.adapters.fleet_load import Numbers, fleet_load
from modelfleet.adapters.pages import FRESH_S, Pages
from modelfleet.adapters.readings import Readings
from modelfleet.errors import MetricsError
from modelfleet.plan.load import INTERVAL_S, FleetLoad
from modelfleet.plan.targets import Pod, Targets

_LOG = structlog.get_logger("modelfleet.direct")
READ_S = 5.0  # between two readings of the routers
# Likewise, while a store tells as much: a page costs its router 0.6 ms for each tier, in which it relays nothing.
SPARE_READ_S = 15.0
ENGINES_S = 15.0  # and of the engines, whose pages are many and change slowly
BUSY_SHARE_MAX = 0.1  # of a core that reading may take: a large fleet is read less often,
READ_S_MAX = 15.0  # but not so rarely that a minute would hold no rate
READING_S_MAX = 10.0  # who has not answered by then is silent
ENGINES_WAIT_S = 2.5  # for engines; what they say later counts from the next reading on
# An engine that did not answer twice in a row is not asked for so long: others would wait for it.  Once is no news of
# one under load.
MISSES_MAX, SILENT_S = 2, 60.0
_ALL = frozenset(row.name for row in queries.TABLE)
# What tells that engines are full.
_GLANCE = frozenset({"in_flight", "waiting_router", "engine_waiting", "kv_used"})


class DirectMetrics:
    """The load as routers and engines tell it.

    `now_s`: monotonic seconds, the clock of `pages`; `spare`: whether another source is used at the time; `glance`:
    gets what each reading shows of queues and memory, and of nothing else, while no other source is.
    """

    def __init__(
        self,
        pages: Pages,
        targets: Callable[[], Targets],
        now_s: Callable[[], float],
        *,
        spare: Callable[[], bool] = lambda: False,
        glance: Callable[[FleetLoad], None] = lambda _: None,
    ) -> None:
        self._pages = pages
        self._targets = targets
        self._now_s = now_s
        self._spare = spare
        self._glance = glance
        self._readings = Readings()
        self._reading: asyncio.Task[None] | None = None
        self._settled = asyncio.Lock()  # while a look goes through the readings none is completed
        self._engines_s = -math.inf  # when they were read
        self._asking: dict[Pod, asyncio.Task[None]] = {}  # engines
        self._missed: dict[Pod, int] = {}  # pages in a row, of engines
        self._silent: dict[Pod, float] = {}  # engines that are left alone, and until when
        self._busy_s = 0.0  # of this thread, for the last reading

    async def run(self) -> None:
        """Read until cancelled.  What was read by an earlier leadership is too old to go on from."""
        self._readings = Readings()
        while True:
            await asyncio.sleep(self._due_s())
            if self._due_s() > 0:
                continue  # a look has read meanwhile
            try:
                await self._read()
                if not self._spare():
                    self._glance(await self._rows_of(_GLANCE, since_s=INTERVAL_S))
            except Exception:  # noqa: BLE001  a bug here must not end what leads
                _LOG.exception("reading failed")
                await asyncio.sleep(READ_S)

    async def load(self, *, since_s: float = INTERVAL_S) -> FleetLoad:
        """One look, as of now; the last one was `since_s` ago.  Raises MetricsError while nobody has answered."""
        at_s = self._readings.at_s
        if at_s is None or self._now_s() - at_s > FRESH_S:
            await self._read()
        if self._targets().routers and not self._readings.answered:
            raise MetricsError("no router has answered the operator yet")
        return await self._rows_of(_ALL, since_s=since_s)

    async def _rows_of(self, wanted: Collection[str], *, since_s: float) -> FleetLoad:
        """These rows, as of the last reading."""
        targets = self._targets()
        async with self._settled:
            look = self._readings.look(since_s=since_s)
            rows: dict[str, Numbers] = {}
            for row in queries.TABLE:
                if row.name in wanted:
                    rows[row.name] = look.row(row)
                    await asyncio.sleep(0)  # of a large fleet each takes milliseconds, which others wait for
            counts = self._readings.counts() if wanted is _ALL else {}
        return fleet_load(rows, counts, targets=targets, source="Direct", since_s=since_s)

    def _due_s(self) -> float:
        """How long from now the next reading is."""
        at_s = self._readings.at_s
        if at_s is None:
            return 0.0
        every_s = SPARE_READ_S if self._spare() else READ_S
        every_s = min(max(every_s, self._busy_s / BUSY_SHARE_MAX), READ_S_MAX)
        return max(0.0, at_s + every_s - self._now_s())

    async def _read(self) -> None:
        """One reading, or the one under way."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        await asyncio.shield(self._reading)

    async def _read_all(self) -> None:
        targets, readings = self._targets(), self._readings
        self._busy_s, spent_s, began_s = 0.0, self._pages.busy_s, time.monotonic()
        asked = [asyncio.create_task(self._take(readings, pod)) for pod in targets.routers]
        engines_too = self._now_s() - self._engines_s >= ENGINES_S - READ_S / 2
        if engines_too:
            self._engines_s = self._now_s()
            self._ask_engines(readings, targets.engines)
        if asked:
            _, late = await asyncio.wait(asked, timeout=READING_S_MAX)
            for task in late:
                task.cancel()
        left_s = ENGINES_WAIT_S - (time.monotonic() - began_s)
        if engines_too and self._asking and left_s > 0:
            await asyncio.wait(self._asking.values(), timeout=left_s)
        if readings.too_much:
            _LOG.error("pods tell more series than there can be, forgetting all")
            readings = self._readings = Readings()
        async with self._settled:
            with self._busy():
                readings.mark(self._now_s(), [*targets.routers, *targets.engines])
        self._busy_s += self._pages.busy_s - spent_s

    def _ask_engines(self, readings: Readings, engines: Collection[Pod]) -> None:
        """Those that are there, but for the silent ones and those that are being asked."""
        now_s = self._now_s()
        there = set(engines)
        for gone in self._asking.keys() - there:
            self._asking[gone].cancel()
        self._silent = {pod: until_s for pod, until_s in self._silent.items() if until_s > now_s}
        self._missed = {pod: count for pod, count in self._missed.items() if pod in there}
        for pod in engines:
            if pod not in self._asking and pod not in self._silent:
                task = self._asking[pod] = asyncio.create_task(self._take(readings, pod))
                task.add_done_callback(partial(self._asked, pod))

    def _asked(self, pod: Pod, task: "asyncio.Task[None]") -> None:
        if self._asking.get(pod) is task:
            del self._asking[pod]
        if not task.cancelled() and (err := task.exception()) is not None:
            _LOG.error("reading an engine failed", exc_info=err)

    async def _take(self, readings: Readings, pod: Pod) -> None:
        (page,) = await self._pages.read([(pod.address, pod.port)], engines=pod.tier is not None)
        if page is not None:
            self._missed.pop(pod, None)
            with self._busy():
                readings.take(pod, page)
        elif pod.tier is not None:
            self._missed[pod] = self._missed.get(pod, 0) + 1
            if self._missed[pod] >= MISSES_MAX:
                self._silent[pod] = self._now_s() + SILENT_S

    @contextmanager
    def _busy(self) -> Iterator[None]:
        began_s = time.thread_time()
        yield
        self._busy_s += time.thread_time() - began_s
