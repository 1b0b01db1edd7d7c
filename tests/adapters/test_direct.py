"""The direct source on real routers' pages over HTTP, and what becomes of it when they go."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client import generate_latest

from modelfleet.adapters import readings
from modelfleet.adapters.direct import READ_S, DirectMetrics
from modelfleet.adapters.pages import Pages
from modelfleet.adapters.readings import SERIES
from modelfleet.errors import MetricsError
from modelfleet.plan.load import FleetLoad, Kept
from modelfleet.plan.snapshot import Name
from modelfleet.plan.targets import Pod, Targets
from modelfleet.router.metrics import RouterMetrics, TierStats
from tests.adapters.prometheus_process import Page as Served
from tests.recorded import RECORDED

SMALL, CHAT = Name("team", "small"), Name("team", "chat")
ROUTERS = tuple(Pod("team", f"router-{i}", f"10.0.0.{i}", 9090) for i in range(2))
ENGINE = Pod("team", "small-0", "10.0.1.0", 8000, SMALL)


@dataclass
class Fleet:
    """Two routers with real counters and an engine with a recorded page, behind addresses; time by hand."""

    now: float = 1000.0
    targets: Targets = field(default_factory=lambda: Targets(ROUTERS, (ENGINE,)))
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    lies: dict[str, str] = field(default_factory=dict)  # pages by address

    def page(self, router: Pod) -> str:
        return generate_latest(self.metrics[router.address].registry()).decode()

    def __post_init__(self) -> None:
        self.metrics = {pod.address: RouterMetrics("team", lambda: self.now) for pod in ROUTERS}
        self.stats = [self._stats(metrics) for metrics in self.metrics.values()]
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        pages = Pages(SERIES, lambda: self.now, client=client)
        self.direct = DirectMetrics(pages, lambda: self.targets, lambda: self.now)

    def _stats(self, metrics: RouterMetrics) -> TierStats:
        stats = metrics.tier("chat", "s", "small")
        stats.judges = True
        metrics.pool("small")
        return stats

    def _answer(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.asked.append(host)
        if host in self.silent:
            raise httpx.ConnectTimeout("nobody")
        if host in self.lies:
            return httpx.Response(200, text=self.lies[host])
        if host == ENGINE.address:
            return httpx.Response(200, text=(RECORDED / "vllm-0.32.0/metrics-loaded.txt").read_text())
        return httpx.Response(200, text=self.page(next(pod for pod in ROUTERS if pod.address == host)))

    def serve(self, *, requests: int, seconds: float = 0.3) -> None:
        for stats in self.stats:
            stats.started += requests
            stats.answered += requests
            stats.attempts["Answered"] += requests
            stats.spend((100 * requests, 10 * requests))
            for _ in range(requests):
                stats.first_token.observe(seconds)
                stats.inter_token.observe(0.01, 9)
                stats.inter_token.observe(0.5)  # a long prompt beside it: one gap, and on average nothing
                stats.streamed(11, 0.59)
                stats.duration.observe(1.0)

    async def read(self, *, after_s: float = READ_S) -> None:
        self.now += after_s
        await self.direct.load()


@pytest.fixture
async def fleet() -> Fleet:
    return Fleet()


async def test_a_tier_under_load(fleet: Fleet):
    await fleet.read()
    for _ in range(18):
        fleet.serve(requests=5)
        for stats in fleet.stats:
            stats.in_flight = 3
        await fleet.read()
    load = await fleet.direct.load(since_s=15.0)
    small, chat = load.tiers[SMALL], load.cascades[CHAT]

    assert (small.in_flight, small.routers, small.age_s, small.source) == (6.0, 2, 0.0, "Direct")
    assert small.rate_rps == pytest.approx(2.0)  # five of two routers every five seconds
    assert small.ttft is not None
    assert small.ttft.count == 120
    assert small.ttft.mean == pytest.approx(0.3)
    assert (small.prompt_tokens, small.output_tokens, small.answer_s) == (100.0, 10.0, 1.0)
    assert (small.engines, small.waiting_engines, small.cached_share) == (1, 16.0, None)
    assert small.kv_used == pytest.approx(0.022, abs=0.001)
    assert chat.arrived == 30
    assert chat.kept(ttft_s=0.3, itl_s=0.075) == Kept(30.0, 30.0)
    assert small.itl is not None
    assert small.itl.within(0.075) == pytest.approx(0.9)
    assert set(chat.counts) == {30.0}
    assert load.started[CHAT]["s"] == 180


async def test_a_router_that_falls_silent_makes_the_number_incomplete(fleet: Fleet):
    for _ in range(15):
        fleet.serve(requests=1)
        await fleet.read()
    fleet.silent.add(ROUTERS[1].address)
    routers = []
    for _ in range(4):
        await fleet.read()
        routers.append((await fleet.direct.load()).tiers[SMALL].routers)

    assert routers == [2, 2, 1, 1]  # its last word holds for one lost reading, and its age shows


async def test_when_no_router_answers_there_is_no_load(fleet: Fleet):
    await fleet.read()
    fleet.silent |= {pod.address for pod in ROUTERS}
    with pytest.raises(MetricsError, match="no router"):
        await fleet.read(after_s=20.0)


async def test_a_fleet_without_routers_is_no_failure(fleet: Fleet):
    fleet.targets = Targets()

    assert (await fleet.direct.load()).tiers == {}


async def test_engines_are_read_less_often_than_routers(fleet: Fleet):
    for _ in range(6):
        await fleet.read()

    assert fleet.asked.count(ROUTERS[0].address) == 6
    assert fleet.asked.count(ENGINE.address) == 2


async def test_it_reads_while_it_runs_and_forgets_what_an_earlier_time_of_leading_read(fleet: Fleet):
    await fleet.read()
    running = asyncio.create_task(fleet.direct.run())
    fleet.now += READ_S
    for _ in range(1000):
        await asyncio.sleep(0)
        if fleet.asked.count(ROUTERS[0].address) > 1:
            break
    load = await fleet.direct.load()
    running.cancel()

    assert load.cascades[CHAT].arrived is None  # one reading tells no gain
    assert load.tiers[SMALL].routers == 2


async def test_over_http_as_pods_answer():
    router = RouterMetrics("team")
    router.tier("chat", "s", "small").in_flight = 3
    router.pool("small")
    texts = [
        generate_latest(router.registry()).decode(),
        (RECORDED / "llama.cpp/metrics-loaded.txt").read_text(),
    ]
    with Served(lambda _: texts[0]) as one, Served(lambda _: texts[1]) as other:
        targets = Targets(
            routers=(Pod("team", "router-0", "127.0.0.1", one.port),),
            engines=(Pod("team", "small-0", "127.0.0.1", other.port, SMALL),),
        )
        pages = Pages(SERIES, time.monotonic)
        load = await DirectMetrics(pages, lambda: targets, time.monotonic).load()
        await pages.close()
    small = load.tiers[SMALL]

    assert (small.in_flight, small.waiting_engines, small.engines) == (3.0, 4.0, 1)
    assert one.requests[0][1]["Accept-Encoding"] == "identity"


HONEST, LIAR = ROUTERS
LIES: dict[str, tuple[Callable[[str], str], int]] = {
    "a negative counter": (lambda page: re.sub(r"(requests_started_total{.*}) .*", r"\1 -5.0", page), 1),
    "a counter beyond all counting": (
        lambda page: re.sub(r"(requests_started_total{.*}) .*", r"\1 1e+300", page),
        1,
    ),
    "a gain that cannot be": (lambda page: re.sub(r"(tokens_total{.*}) .*", r"\1 1e+14", page), 1),
    "a bucket whose bound is a word": (lambda page: page.replace('le="0.3"', 'le="soon"'), 1),
    "ten megabytes of a label": (lambda page: page.replace('tier="s"', f'tier="{"s" * 10_000_000}"', 1), 1),
    "a load of another namespace, too": (
        lambda page: page + page.replace('fleet_namespace="team"', 'fleet_namespace="other"'),
        2,
    ),
    "nothing": (lambda _: "", 1),
}


@pytest.mark.parametrize(("lie", "routers"), LIES.values(), ids=LIES)
async def test_a_router_that_lies_is_silent_and_spoils_no_number(
    fleet: Fleet, lie: Callable[[str], str], routers: int
):
    """Neither now nor for as long as its lie would be a part of any sum."""
    for _ in range(15):
        fleet.serve(requests=10)
        await fleet.read()
    for _ in range(4):
        fleet.serve(requests=10)
        fleet.lies[LIAR.address] = lie(fleet.page(LIAR))
        await fleet.read()
    load = await fleet.direct.load()

    assert load.tiers[SMALL].routers == load.cascades[CHAT].routers == routers
    assert set(load.tiers) == {SMALL}
    assert set(load.cascades) == {CHAT}

    fleet.lies.clear()
    for _ in range(30):
        fleet.serve(requests=10)
        await fleet.read()
    load = await fleet.direct.load(since_s=15.0)
    small, chat = load.tiers[SMALL], load.cascades[CHAT]

    assert small.routers == 2
    assert small.rate_rps == pytest.approx(4.0, rel=0.1)  # ten of each in five seconds
    assert chat.arrived == pytest.approx(60.0, rel=0.1)
    assert small.prompt_tokens == pytest.approx(100.0)


async def test_engines_that_do_not_answer_are_left_alone_for_a_while(fleet: Fleet):
    fleet.silent.add(ENGINE.address)
    for _ in range(14):
        await fleet.read()
    assert fleet.asked.count(ENGINE.address) == 2

    fleet.silent.clear()
    for _ in range(6):
        await fleet.read()
    assert (await fleet.direct.load()).tiers[SMALL].engines == 1


async def test_an_engine_that_misses_one_page_is_silent_to_nobody(fleet: Fleet):
    told = []
    for at in range(12):
        fleet.silent = {ENGINE.address} if at == 3 else set()
        await fleet.read()
        told.append((await fleet.direct.load()).tiers[SMALL].engines)

    assert told == [1] * 12


async def test_series_that_somebody_makes_up_are_forgotten(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readings, "TOTALS_MAX", 2000)
    known = []
    for at in range(40):
        page = fleet.page(LIAR)
        fleet.lies[LIAR.address] = page + page.replace('model_tier="small"', f'model_tier="made-{at}"')
        await fleet.read()
        known.append(len(fleet.direct._readings._lately))

    assert max(known) < 3000


async def test_a_slow_router_costs_the_others_nothing():
    """50 tiers behind eight routers, one of which takes longer than a page may."""
    quick = [RouterMetrics("team") for _ in range(8)]
    for metrics in quick:
        for at in range(50):
            metrics.tier("chat", f"s{at}", f"tier-{at}").in_flight = 1
            metrics.pool(f"tier-{at}")
    texts = [generate_latest(metrics.registry()).decode() for metrics in quick]
    pods = tuple(Pod("team", f"router-{at}", f"10.0.0.{at}", 9090) for at in range(8))
    slow = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        at = int(request.url.host.rpartition(".")[2])
        if at == 7:
            await slow.wait()
        return httpx.Response(200, text=texts[at])

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    direct = DirectMetrics(
        Pages(SERIES, time.monotonic, client=client), lambda: Targets(pods, ()), time.monotonic
    )
    load = await direct.load()

    assert {tier.routers for tier in load.tiers.values()} == {7}
    assert len(load.tiers) == 50
    assert sum(tier.in_flight or 0 for tier in load.tiers.values()) == 350


@pytest.mark.parametrize("stored", [False, True], ids=["nobody else tells", "a store is used"])
async def test_each_reading_shows_queues_and_memory_while_no_store_does(*, stored: bool):
    metrics, shown, told = RouterMetrics("team"), list[FleetLoad](), asyncio.Event()
    metrics.tier("chat", "s", "small").in_flight = 9
    metrics.pool("small").waiting = 7
    page = generate_latest(metrics.registry()).decode()
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=page)))

    def spare() -> bool:  # asked after each reading
        told.set()
        return stored

    direct = DirectMetrics(
        Pages(SERIES, time.monotonic, client=client),
        lambda: Targets(ROUTERS[:1], ()),
        time.monotonic,
        spare=spare,
        glance=shown.append,
    )
    running = asyncio.create_task(direct.run())
    async with asyncio.timeout(10):
        await told.wait()
        while not stored and not shown:  # noqa: ASYNC110  nothing announces a state
            await asyncio.sleep(0.01)
    running.cancel()

    assert [load.tiers[SMALL].waiting_router for load in shown] == ([] if stored else [7.0])
