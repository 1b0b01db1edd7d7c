"""What Prometheus reads."""

import asyncio
import re
import time
from pathlib import Path

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from modelfleet.api.route_table import Price
from modelfleet.router.access_log import AccessLog
from modelfleet.router.bodies import Bodies
from modelfleet.router.metrics import _POOL_LABELS, _TIER_LABELS, Histogram, RouterMetrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def _samples(metrics: RouterMetrics) -> dict[tuple[str, tuple[str, ...]], float]:
    text = generate_latest(metrics.registry()).decode()
    return {
        (sample.name, tuple(value for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("modelfleet_router_")
    }


TIER = ("c", "ns", "m", "t")  # cascade, fleet_namespace, model_tier, tier


def test_series_exist_before_the_first_request():
    metrics = RouterMetrics("ns")
    metrics.tier("c", "t", "m")
    found = _samples(metrics)

    assert found["modelfleet_router_requests_started_total", TIER] == 0
    assert found["modelfleet_router_requests_in_flight", TIER] == 0
    assert found["modelfleet_router_time_to_first_token_seconds_count", TIER] == 0
    assert found["modelfleet_router_request_errors_total", ("c", "ns", "Unavailable", "m", "t")] == 0
    assert found["modelfleet_router_tokens_total", ("c", "ns", "m", "t", "input")] == 0
    assert found["modelfleet_router_turned_away_total", ("c", "ns", "m", "QueueFull", "t")] == 0


def test_judgements_are_told_of_tiers_that_are_judged():
    metrics = RouterMetrics("ns")
    stats = metrics.tier("c", "t", "m")
    assert not any("judged" in name or "score" in name for name, _ in _samples(metrics))

    stats.judges = True
    stats.score.observe(-0.42)
    found = _samples(metrics)

    assert found["modelfleet_router_judged_total", ("c", "ns", "m", "t", "LowScore")] == 0
    assert found["modelfleet_router_escalations_total", ("c", "ns", "m", "InvalidJson", "t")] == 0
    assert found["modelfleet_router_hold_back_seconds_count", TIER] == 0
    assert found["modelfleet_router_score_bucket", ("c", "ns", "-0.45", "m", "t")] == 0
    assert found["modelfleet_router_score_bucket", ("c", "ns", "-0.4", "m", "t")] == 1


def test_replicas_have_their_own_series():
    metrics = RouterMetrics("ns")
    pool = metrics.pool("m")
    pool.ejected["RetryAfter"] += 2
    pool.waiting = 3
    found = _samples(metrics)

    assert found["modelfleet_router_requests_waiting", ("ns", "m")] == 3
    assert found["modelfleet_router_replicas_out", ("ns", "m")] == 0
    assert found["modelfleet_router_retries_total", ("ns", "m")] == 0
    assert found["modelfleet_router_replicas_ejected_total", ("ns", "m", "RetryAfter")] == 2
    assert found["modelfleet_router_replicas_ejected_total", ("ns", "m", "ConsecutiveFailures")] == 0
    metrics.keep_only([])
    assert not any("waiting" in name for name, _ in _samples(metrics))


def test_series_of_a_tier_that_left_are_gone():
    metrics = RouterMetrics("ns")
    stays = metrics.tier("c", "t", "m")
    metrics.tier("c", "leaves", "m")
    metrics.keep_only([stays])

    assert metrics.tier("c", "t", "m") is stays
    assert not any("leaves" in labels for _, labels in _samples(metrics))


def test_page_of_metrics_is_true():
    """docs/metrics.md names every metric of the router with its type and labels, and no other."""
    metrics = RouterMetrics("ns")
    metrics.tier("c", "t", "m").judges = True
    metrics.pool("m")
    metrics.access_log = AccessLog(0, loop=asyncio.new_event_loop(), clock=time.time)
    metrics.api_keys = dict
    metrics.bodies = Bodies()
    rows = re.findall(
        r"^\| `(modelfleet_router_\w+)` \| (\w+) \|(.*?)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {
        name.removesuffix("_total"): (
            kind,
            *(_TIER_LABELS if "*tier*" in labels else _POOL_LABELS if "*ModelTier*" in labels else ()),
            *re.findall(r"`(\w+)`", labels),
        )
        for name, kind, labels in rows
    }

    assert told == {family.name: (family.type, *family._labelnames) for family in metrics.collect()}


def test_buckets_are_cumulative():
    histogram = Histogram((0.1, 1.0))
    histogram.observe(0.1)
    histogram.observe(0.5, times=3)
    histogram.observe(7.0)

    assert histogram.buckets() == [("0.1", 1), ("1.0", 4), ("+Inf", 5)]
    assert histogram.sum_s == 8.6


def test_a_tier_is_idle_since_its_last_request_left():
    now = [100.0]
    metrics = RouterMetrics("ns", lambda: now[0])
    stats, pool = metrics.tier("c", "t", "m"), metrics.pool("m")

    def idle_s() -> float:
        return _samples(metrics)["modelfleet_router_idle_seconds", ("ns", "m")]

    now[0] = 110.0
    assert idle_s() == 10.0  # what was before the router knew the tier it cannot tell
    stats.in_flight += 1
    pool.busy_s, now[0] = 110.0, 150.0
    assert idle_s() == 0.0  # however long the request takes
    stats.in_flight -= 1
    pool.busy_s, now[0] = 150.0, 155.5
    assert idle_s() == 5.5


def test_dollars_are_counted_at_the_price_of_their_time():
    metrics = RouterMetrics("ns")
    stats = metrics.tier("c", "t", "m")

    def dollars() -> float:
        return _samples(metrics)["modelfleet_router_cost_dollars_total", TIER]

    stats.spend((1_000_000, 0))
    assert dollars() == 0.0
    stats.cost(Price(2.0, 10.0))
    stats.spend((1_000_000, 500_000))
    assert dollars() == dollars() == 7.0
    stats.spend((0, 100_000))
    stats.cost(Price(0.0, 1.0))
    stats.spend((0, 1_000_000))
    assert dollars() == 9.0
    stats.cost(None)
    stats.spend((1_000_000, 1_000_000))
    assert dollars() == 9.0
