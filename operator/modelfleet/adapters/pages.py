"""Reads the metrics pages of routers and engines, each at most once for all who want to know something of it.

The operator asks them itself, and not only a metrics store: a cluster may have none, and what it has is a scrape old.
Nothing of a page is kept but the numbers that somebody reads.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import httpx

from modelfleet import names
from modelfleet.adapters.series import Series, SeriesReader

HTTP_OK = 200
TIMEOUT_S = 2.0
AT_ONCE = 16  # pages under way
PAGE_BYTES_MAX = 16 * 1024 * 1024  # a router of 800 tiers
FRESH_S = 2.0  # a page that is not older answers whoever asks
KEPT_S = 60.0  # so long a page nobody asked for again is remembered

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """The numbers of one page, and when they were read, by the reader's clock.

    `age` of the reader's series: pages of another one have none in common.
    """

    at_s: float
    samples: Mapping[Series, float]
    age: int = 0


class Pages:
    """The pages by address.  `now_s`: monotonic seconds."""

    def __init__(
        self,
        series: Collection[str],
        now_s: Callable[[], float],
        *,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        # Nothing is unpacked: a page is bounded by what comes over the wire.
        headers = {"Accept-Encoding": "identity", "Accept": "text/plain"}
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT_S, headers=headers, trust_env=False)
        self._now_s = now_s
        self.reader = SeriesReader(series)
        self._known: dict[Address, Page] = {}
        self._under_way: dict[Address, asyncio.Task[Page | None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self.busy_s = 0.0  # seconds of this thread that went into reading texts

    async def read(self, addresses: Sequence[Address]) -> list[Page | None]:
        """The page of each, not older than FRESH_S; None where there is no answer, or none that can be read."""
        return list(await asyncio.gather(*map(self._page, addresses)))

    async def of_routers(self, hosts: Sequence[str]) -> list[Page | None]:
        """The pages of routers at these IP addresses."""
        return await self.read([(host, names.ROUTER_METRICS_PORT) for host in hosts])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _page(self, address: Address) -> Page | None:
        known = self._known.get(address)
        if known is not None and self._now_s() - known.at_s <= FRESH_S:
            return known
        task = self._under_way.get(address)
        if task is None:
            task = self._under_way[address] = asyncio.create_task(self._asked(address))
            task.add_done_callback(lambda _: self._under_way.pop(address, None))
        return await asyncio.shield(task)  # another may wait for it, too

    async def _asked(self, address: Address) -> Page | None:
        async with self._places:
            page = await self._fetched(address)
        if page is None:
            self._known.pop(address, None)
        else:
            self._forget_old(page.at_s)
            self._known[address] = page
        return page

    def _forget_old(self, now_s: float) -> None:
        for address in [at for at, page in self._known.items() if now_s - page.at_s > KEPT_S]:
            del self._known[address]

    async def _fetched(self, address: Address) -> Page | None:
        host, port = address
        host = f"[{host}]" if ":" in host else host
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._client.stream("GET", f"http://{host}:{port}/metrics") as answer,
            ):
                at_s = self._now_s()
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > PAGE_BYTES_MAX:
                        return None
            if answer.status_code != HTTP_OK:
                return None
            return self._told(at_s, bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError):
            return None

    def _told(self, at_s: float, body: bytes) -> Page:
        began_s = time.thread_time()
        page = Page(at_s, self.reader.read(body.decode()), self.reader.age)
        self.busy_s += time.thread_time() - began_s
        return page
