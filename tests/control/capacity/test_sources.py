import asyncio
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from modelfleet.control.capacity import sources
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.capacity.sources import LOOKS_STEADY, Sources
from modelfleet.errors import MetricsError
from modelfleet.plan.load import FleetLoad, SourceName, TierLoad
from modelfleet.plan.snapshot import Name

SMALL = Name("team", "small")


@dataclass
class Source:
    name: SourceName
    routers: int = 2
    configured: bool = True
    fails: bool = False
    asked: int = 0
    hangs: bool = False

    async def load(self, *, since_s: float) -> FleetLoad:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise MetricsError(f"{self.name} is silent")
        tier = TierLoad(in_flight=1.0, age_s=1.0, routers=self.routers, source=self.name)
        return FleetLoad({SMALL: tier}, {}, {}, since_s=since_s)


class Both:
    def __init__(self) -> None:
        self.store, self.direct = Source("Prometheus"), Source("Direct")
        self.registry = CollectorRegistry()
        self.instruments = CapacityMetrics(self.registry)
        self.sources = Sources(self.store, self.direct, instruments=self.instruments)

    async def used(self) -> SourceName:
        return (await self.sources.load(since_s=15.0)).tiers[SMALL].source

    def shown(self, source: SourceName) -> float | None:
        return self.registry.get_sample_value("modelfleet_operator_metrics_source", {"source": source})


async def test_a_store_that_answers_is_used():
    both = Both()

    assert await both.used() == "Prometheus"
    assert (both.shown("Prometheus"), both.shown("Direct")) == (1.0, 0.0)
    assert both.direct.asked == 1
    assert both.sources.stored


async def test_without_a_store_what_is_read_directly_is_all():
    both = Both()
    both.store.configured = False

    assert await both.used() == "Direct"
    assert both.store.asked == 0
    assert not both.sources.stored
    assert (both.shown("Prometheus"), both.shown("Direct")) == (0.0, 1.0)


async def test_a_store_that_fails_is_used_again_once_it_is_steady():
    both = Both()
    both.store.fails = True
    lost = [await both.used(), await both.used()]
    assert not both.sources.stored
    both.store.fails = False
    again = [await both.used() for _ in range(LOOKS_STEADY)]

    assert lost == ["Direct", "Direct"]
    assert again == ["Direct"] * (LOOKS_STEADY - 1) + ["Prometheus"]
    assert both.registry.get_sample_value("modelfleet_operator_prometheus_query_errors_total") == 2


async def test_a_store_that_scrapes_too_few_routers_is_not_believed():
    both = Both()
    both.store.routers = 1

    assert await both.used() == "Direct"


async def test_a_direct_reading_that_fails_leaves_the_store():
    both = Both()
    both.store.fails = True
    await both.used()
    both.store.fails, both.direct.fails = False, True

    assert await both.used() == "Prometheus"


async def test_pods_that_nobody_reaches_hold_up_no_decision(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "PATIENCE_S", 0.01)
    both = Both()
    both.direct.hangs = True

    assert await both.used() == "Prometheus"


async def test_a_store_that_is_deaf_holds_up_one_decision_at_most(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "PATIENCE_S", 0.01)
    both = Both()
    both.store.fails = True
    await both.used()
    both.store.fails, both.store.hangs = False, True
    deaf = await both.used()
    both.store.hangs = False
    again = [await both.used() for _ in range(LOOKS_STEADY)]

    assert deaf == "Direct"
    assert again == ["Direct"] * (LOOKS_STEADY - 1) + ["Prometheus"]


async def test_when_neither_answers_there_is_no_load():
    both = Both()
    both.store.fails = both.direct.fails = True

    with pytest.raises(MetricsError, match="Direct is silent"):
        await both.used()
