"""Reads the metrics pages of routers and engines, each at most once for all who want to know something of it.

The operator asks them itself, and not only a metrics store: a cluster may have none, and what it has is a scrape old.
Nothing of a page is kept but the numbers that somebody reads.

Routers and engines are asked side by side: an address that swallows packets takes its place for the whole timeout, and
a fleet of engines behind a closed NetworkPolicy must not make routers seem silent.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import httpx
import structlog

from modelfleet import names
from modelfleet.adapters.series import Series, SeriesReader

HTTP_OK = 200
TIMEOUT_S = 2.0
AT_ONCE = 16  # pages of routers under way
ENGINES_AT_ONCE = 32  # and of engines
PAGE_BYTES_MAX = 16 * 1024 * 1024  # a router of 800 tiers
FRESH_S = 2.0  # a page that is not older answers whoever asks
KEPT_S = 60.0  # so long a page nobody asked for again is remembered

_ERROR_CHARS_MAX = 200

Address = tuple[str, int]
_LOG = structlog.get_logger("modelfleet.pages")


@dataclass(frozen=True, slots=True)
class Page:
    """The numbers of one page, and when they were read, by the reader's clock.

    `age` of the reader's series: pages of another one have none in common.
    """

    at_s: float
    samples: Mapping[Series, float]
    age: int = 0


@dataclass(slots=True)
class _UnderWay:
    """A page that is asked for, and by how many."""

    task: "asyncio.Task[Page | None]"
    waiters: int = 0


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
        self._under_way: dict[Address, _UnderWay] = {}
        self._places = {False: asyncio.Semaphore(AT_ONCE), True: asyncio.Semaphore(ENGINES_AT_ONCE)}
        self._text = asyncio.Lock()  # texts are read in parts, and one after the other
        self.busy_s = 0.0  # seconds of this thread that went into reading texts

    async def read(self, addresses: Sequence[Address], *, engines: bool = False) -> list[Page | None]:
        """The page of each, not older than FRESH_S; None where there is no answer, or none that can be read."""
        return list(await asyncio.gather(*(self._page(address, engines=engines) for address in addresses)))

    async def of_routers(self, hosts: Sequence[str]) -> list[Page | None]:
        """The pages of routers at these IP addresses."""
        return await self.read([(host, names.ROUTER_METRICS_PORT) for host in hosts])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _page(self, address: Address, *, engines: bool) -> Page | None:
        known = self._known.get(address)
        if known is not None and self._now_s() - known.at_s <= FRESH_S:
            return known
        one = self._under_way.get(address)
        if one is None:
            one = _UnderWay(asyncio.create_task(self._asked(address, engines=engines)))
            self._under_way[address] = one
        one.waiters += 1
        try:
            return await asyncio.shield(one.task)  # another may wait for it, too
        finally:
            one.waiters -= 1
            if not one.waiters:  # it has come, or nobody wants it any more
                one.task.cancel()
                if self._under_way.get(address) is one:
                    del self._under_way[address]

    async def _asked(self, address: Address, *, engines: bool) -> Page | None:
        async with self._places[engines]:
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
                if answer.headers.get("content-encoding", "identity") != "identity":
                    return None  # nobody asked for that, and a few bytes may be gigabytes
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > PAGE_BYTES_MAX:
                        return None
            if answer.status_code != HTTP_OK:
                return None
            return await self._told(at_s, bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return None
        except ValueError as err:
            _LOG.warning(
                "a metrics page is none", address=f"{host}:{port}", error=str(err)[:_ERROR_CHARS_MAX]
            )
            return None

    async def _told(self, at_s: float, body: bytes) -> Page:
        found: dict[Series, float] = {}
        async with self._text:
            began_s = time.thread_time()
            for part in self.reader.parts(body.decode()):
                found |= part
                self.busy_s += time.thread_time() - began_s
                await asyncio.sleep(0)  # of a large page each part takes milliseconds, which others wait for
                began_s = time.thread_time()
            return Page(at_s, found, self.reader.age)
