import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from modelfleet.adapters import pages as module
from modelfleet.adapters.pages import Pages

NAME = "modelfleet_router_requests_in_flight"


@dataclass
class Pods:
    """Answers as it is told; counts who was asked, and how many at once."""

    text: str = f"{NAME} 3\n# and so on\nother_metric 7\n"
    status: int = 200
    now: float = 100.0
    asked: list[str] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.go_on.set()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.pages = Pages({NAME}, lambda: self.now, client=client)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.go_on.wait()
        self.under_way -= 1
        if request.url.host == "10.9.9.9":
            raise httpx.ConnectError("nobody")
        return httpx.Response(self.status, text=self.text)

    async def values(self, *hosts: str) -> list[list[float] | None]:
        return [page and [*page.samples.values()] for page in await self.pages.of_routers(hosts)]


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("not seen")


async def test_only_what_was_asked_for_is_kept():
    assert await Pods().values("10.0.0.1", "10.9.9.9", "fd00::1") == [[3.0], None, [3.0]]


async def test_whoever_asks_within_a_moment_shares_one_page():
    pods = Pods()
    pods.go_on.clear()
    both = asyncio.gather(pods.values("10.0.0.1"), pods.values("10.0.0.1"))
    await until(lambda: bool(pods.asked))
    pods.go_on.set()
    assert await both == [[[3.0]], [[3.0]]]
    pods.now += 1.0
    await pods.values("10.0.0.1")
    assert pods.asked == ["10.0.0.1"]

    pods.now += 5.0
    await pods.values("10.0.0.1")
    assert pods.asked == ["10.0.0.1", "10.0.0.1"]


async def test_who_gives_up_waiting_takes_nothing_from_another():
    pods = Pods()
    pods.go_on.clear()
    one, other = (asyncio.create_task(pods.values("10.0.0.1")) for _ in range(2))
    await until(lambda: bool(pods.asked))
    one.cancel()
    pods.go_on.set()

    assert await other == [[3.0]]


async def test_so_many_are_asked_at_once_and_no_more():
    pods = Pods()
    pods.go_on.clear()
    all_of_them = asyncio.create_task(pods.values(*(f"10.0.0.{i}" for i in range(100))))
    await until(lambda: pods.under_way == module.AT_ONCE)
    pods.go_on.set()
    await all_of_them

    assert (len(pods.asked), pods.most) == (100, module.AT_ONCE)


NO_PAGES = {
    "refused": Pods(status=503),
    "no number": Pods(text=f"{NAME} 3\n{NAME} much\n"),
    "no text": Pods(text="\ud800".encode("utf-8", "surrogatepass").decode("latin-1") + f"\n{NAME}{{ 1\n"),
}


@pytest.mark.parametrize("pods", NO_PAGES.values(), ids=NO_PAGES)
async def test_what_is_no_page_is_no_answer(pods: Pods):
    assert await pods.values("10.0.0.1") == [None]


async def test_a_page_without_end_is_no_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAGE_BYTES_MAX", 1000)

    assert await Pods(text=f"{NAME} 3\n" * 200).values("10.0.0.1") == [None]
    assert await Pods(text=f"{NAME} 3\n" * 10).values("10.0.0.1") == [[3.0]]


async def test_a_silent_pod_costs_the_timeout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    pods = Pods()
    pods.go_on.clear()

    assert await pods.values("10.0.0.1") == [None]


async def test_what_was_packed_is_not_unpacked():
    bomb = gzip.compress(f"{NAME} 3\n".encode() + b"#" * 50_000_000)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(bomb))

    pages = Pages({NAME}, lambda: 1.0, client=httpx.AsyncClient(transport=httpx.MockTransport(answer)))

    assert await pages.of_routers(["10.0.0.1"]) == [None]


async def test_engines_that_swallow_packets_take_no_place_of_a_router():
    pods = Pods()
    pods.go_on.clear()
    engines = asyncio.create_task(pods.pages.read([(f"10.1.0.{i}", 8000) for i in range(200)], engines=True))
    await until(lambda: pods.under_way == module.ENGINES_AT_ONCE)
    router = asyncio.create_task(pods.values("10.0.0.1"))
    await until(lambda: "10.0.0.1" in pods.asked)
    pods.go_on.set()

    assert await router == [[3.0]]
    await engines


async def test_what_nobody_waits_for_any_more_is_not_asked():
    pods = Pods()
    pods.go_on.clear()
    many = asyncio.create_task(pods.values(*(f"10.0.0.{i}" for i in range(100))))
    await until(lambda: pods.under_way == module.AT_ONCE)
    many.cancel()
    await asyncio.gather(many, return_exceptions=True)
    pods.go_on.set()

    assert await pods.values("10.2.0.1") == [[3.0]]
    assert len(pods.asked) == module.AT_ONCE + 1
