"""The queries ask for what the router really exposes."""

import re

from prometheus_client import generate_latest

from modelfleet.adapters import queries
from modelfleet.router.metrics import RouterMetrics

ALL = (
    queries.IN_FLIGHT,
    queries.AGE,
    queries.ROUTERS,
    queries.FIRST_TOKENS,
    queries.STARTED,
    queries.ANSWERED,
    queries.ttft(95),
)
METRIC = re.compile(r"modelfleet_router_\w+")


def test_every_series_of_the_queries_exists_from_the_moment_a_tier_is_known():
    metrics = RouterMetrics("team")
    metrics.tier("chat", "s", "small")
    page = generate_latest(metrics.registry()).decode()
    exposed = {
        METRIC.match(line).group()  # type: ignore[union-attr]
        for line in page.splitlines()
        if line.startswith("modelfleet_router_")
        and all(
            label in line
            for label in ('fleet_namespace="team"', 'cascade="chat"', 'tier="s"', 'model_tier="small"')
        )
    }

    assert {name for query in ALL for name in METRIC.findall(query)} <= exposed


def test_a_percentile_becomes_a_quantile():
    assert queries.ttft(95).startswith("histogram_quantile(0.95, ")
