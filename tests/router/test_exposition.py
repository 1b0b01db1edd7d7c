import math

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from modelfleet.router.exposition import page
from modelfleet.router.metrics import RouterMetrics


def a_router() -> CollectorRegistry:
    metrics = RouterMetrics("team", lambda: 100.0)
    for tier in ("small", 'a "quoted" \\ name\nin two lines'):
        stats = metrics.tier("chat", tier, tier)
        stats.judges, stats.started, stats.tokens_out = True, 12_345_678, 3
        stats.first_token.observe(0.3, 7)
        stats.score.observe(-0.7)
        metrics.pool(tier).waiting = 2
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry


def odd_numbers() -> CollectorRegistry:
    registry = CollectorRegistry()
    gauge = Gauge(
        "odd", "Numbers that are written in their own way,\nand a \\ in the help", ("of",), registry=registry
    )
    for value in (0.0, -0.0, 1.0, 1e6, 1234567.0, 1e16, 0.1, 1e-7, -2.5, math.inf, -math.inf, math.nan):
        gauge.labels(repr(value)).set(value)
    Gauge("plain", "Without labels.", registry=registry).set(3)
    return registry


REGISTRIES = {"a router": a_router(), "odd numbers": odd_numbers(), "nothing": CollectorRegistry()}


@pytest.mark.parametrize("registry", REGISTRIES.values(), ids=REGISTRIES)
def test_it_writes_what_the_client_writes(registry: CollectorRegistry):
    assert page(registry) == generate_latest(registry)
