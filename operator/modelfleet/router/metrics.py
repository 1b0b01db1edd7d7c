"""Counters of the data plane, kept as plain integers and turned into Prometheus' form only when scraped.

A labelled metric of the client library costs more than relaying a chunk does.  So each tier has one object that is
bound once, and the request path only adds to its attributes.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from modelfleet.api.route_table import OVERFLOWS, Price
from modelfleet.route.accept import ACCEPTED, REASONS
from modelfleet.router.access_log import AccessLog
from modelfleet.router.bodies import Bodies

_PREFIX = "modelfleet_router"
_TIER_LABELS = ("fleet_namespace", "cascade", "tier", "model_tier")
_POOL_LABELS = ("fleet_namespace", "model_tier")
_FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60)
_INTER_TOKEN_S = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
_HOLD_BACK_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60)
# Fine enough for the quantile that a threshold is chosen by.
_SCORE = (
    -8, -5, -4, -3, -2.5, -2, -1.75, -1.5, -1.25, -1.1, -1, -0.9, -0.8, -0.7, -0.65, -0.6, -0.55, -0.5, -0.45, -0.4,
    -0.35, -0.3, -0.25, -0.2, -0.175, -0.15, -0.125, -0.1, -0.075, -0.05, -0.035, -0.02, -0.01, -0.005, 0,
)  # fmt: skip
_DURATION_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300)


class Histogram:
    """Counts per bucket of seconds (or of log probabilities), not yet cumulative."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, value_s: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds_s, value_s)] += times
        self.sum_s += value_s * times

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as the exposition wants them."""
        rows, seen = [], 0
        for bound, count in zip((*map(str, self.bounds_s), "+Inf"), self.counts, strict=True):
            seen += count
            rows.append((bound, float(seen)))
        return rows


@dataclass(slots=True)
class TierStats:
    """What happened at one tier of one cascade.  Every number exists from the start, so a rate is 0 and not missing."""

    labels: tuple[str, str, str, str]  # values of _TIER_LABELS
    started: int = 0
    answered: int = 0
    in_flight: int = 0
    entry_share: float = 0.0  # of the requests, that enter here now
    tokens_in: int = 0
    tokens_out: int = 0
    errors: Counter[str] = field(default_factory=lambda: Counter({"Unavailable": 0}))
    attempts: Counter[str] = field(default_factory=lambda: Counter({"Answered": 0}))
    turned_away: Counter[str] = field(
        default_factory=lambda: Counter(
            {"NoReplica": 0, "QueueFull": 0, "TooLate": 0, "RetryBudget": 0, "Attempts": 0}
        )
    )
    overflowed: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(OVERFLOWS, 0)))
    first_token: Histogram = field(default_factory=lambda: Histogram(_FIRST_TOKEN_S))
    inter_token: Histogram = field(default_factory=lambda: Histogram(_INTER_TOKEN_S))
    answer_inter_token: Histogram = field(default_factory=lambda: Histogram(_INTER_TOKEN_S))
    duration: Histogram = field(default_factory=lambda: Histogram(_DURATION_S))
    judges: bool = False  # the tier has an accept rule; the four below are told only then
    judged: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((ACCEPTED, *REASONS), 0)))
    escalated: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(REASONS, 0)))
    score: Histogram = field(default_factory=lambda: Histogram(_SCORE))
    hold_back: Histogram = field(default_factory=lambda: Histogram(_HOLD_BACK_S))

    price: Price | None = None  # of the tokens that are not counted in dollars yet
    _microdollars: float = 0.0
    _priced: tuple[int, int] = (0, 0)  # tokens that are

    def streamed(self, tokens: int, took_s: float) -> None:
        """A stream came to its end, `took_s` after its first event; below zero: nobody could tell."""
        if tokens > 1 and took_s >= 0:
            self.answer_inter_token.observe(took_s / (tokens - 1))

    def cost(self, price: Price | None) -> None:
        """From here on tokens cost this."""
        self.dollars()
        self.price = price

    def dollars(self) -> float:
        """What all tokens have cost.  Summed up when it is asked for, and not with every answer."""
        tokens, price = (self.tokens_in, self.tokens_out), self.price
        if price is not None:
            self._microdollars += (tokens[0] - self._priced[0]) * price.input_microdollars
            self._microdollars += (tokens[1] - self._priced[1]) * price.output_microdollars
        self._priced = tokens
        return self._microdollars / 1e6

    def spend(self, used: tuple[int, int]) -> None:
        """Count input and output tokens of an answer."""
        self.tokens_in += used[0]
        self.tokens_out += used[1]


@dataclass(slots=True)
class PoolStats:
    """What happened to one ModelTier's replicas."""

    labels: tuple[str, str]  # values of _POOL_LABELS
    retried: int = 0
    waiting: int = 0  # now
    tenants: int = 0  # whose requests wait now
    displaced: int = 0
    held: int = 0  # of them, for the first replica
    holds: int = 0  # requests that have had to wait for it
    out: int = 0  # now
    busy_s: float = 0.0  # last time that a request came or left, in monotonic seconds
    ejected: Counter[str] = field(default_factory=lambda: Counter({"ConsecutiveFailures": 0}))


class RouterMetrics(Collector):
    """All numbers of one router process.  `now_s`: monotonic seconds, as the event loop counts them."""

    def __init__(self, namespace: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self.namespace = namespace
        self._now_s = now_s
        self._tiers: dict[tuple[str, str, str, str], TierStats] = {}
        self._pools: dict[tuple[str, str], PoolStats] = {}
        self.wake_calls: Counter[str] = Counter({"Accepted": 0})  # to operators, by what came of them
        self.refused: Counter[tuple[str, str]] = Counter()  # errors of our own, by reason and HTTP status
        self.table_errors = 0
        self.table_loaded_at_s = 0.0  # Unix time
        self.table_version = ""
        self.table_ignored: tuple[str, ...] = ()  # optional parts of it that this router does not know
        self.access_log: AccessLog | None = None
        # Entries by whether they can be used; None where nobody needs a key.
        self.api_keys: Callable[[], Mapping[str, int]] | None = None
        self.keys_missing: dict[tuple[str, str, str, str], bool] = {}  # external tiers with a key
        self.bodies: Bodies | None = None
        self.outages: Callable[[], Mapping[str, str]] = (
            dict  # external ModelTiers that cannot be asked, and why
        )

    def tier(self, cascade: str, tier: str, model_tier: str) -> TierStats:
        """The numbers of one tier; the same object as long as the tier is in the table."""
        labels = (self.namespace, cascade, tier, model_tier)
        return self._tiers.setdefault(labels, TierStats(labels))

    def pool(self, model_tier: str) -> PoolStats:
        """The numbers of one ModelTier's replicas; the same object as long as the tier is in the table."""
        labels = (self.namespace, model_tier)
        # What happened before this router knew the tier it cannot tell, so it counts as busy until then.
        return self._pools.setdefault(labels, PoolStats(labels, busy_s=self._now_s()))

    def keep_only(self, current: Iterable[TierStats], pools: Iterable[PoolStats] = ()) -> None:
        """Forget the tiers that left the table, so that series stay bounded."""
        self._tiers = {stats.labels: stats for stats in current}
        self._pools = {stats.labels: stats for stats in pools}

    def registry(self) -> CollectorRegistry:
        """A registry with these numbers and the process's own."""
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        return registry

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        tiers = list(self._tiers.values())
        yield from _counters(tiers)
        yield from _histograms(tiers)
        yield from _judgements([stats for stats in tiers if stats.judges])
        yield from _pools(list(self._pools.values()))
        yield self._idle(tiers)
        calls = _counter(
            "wake_calls", "Calls to operators for a tier that sleeps, by what came of them", ("outcome",)
        )
        for outcome, count in self.wake_calls.items():
            calls.add_metric((outcome,), count)
        yield calls
        refused = _counter(
            "requests_refused",
            "Requests that the router answered with an error of its own",
            ("reason", "status"),
        )
        for why, count in self.refused.items():
            refused.add_metric(why, count)
        yield refused
        yield from self._table()

    def _idle(self, tiers: list[TierStats]) -> Metric:
        busy = {stats.labels[3] for stats in tiers if stats.in_flight}
        idle = _gauge(
            "idle_seconds",
            "How long no request has been at a tier, as far as this router knows; 0: one is there",
            _POOL_LABELS,
        )
        now_s = self._now_s()
        for stats in self._pools.values():
            quiet_s = 0.0 if stats.labels[1] in busy else max(0.0, now_s - stats.busy_s)
            idle.add_metric(stats.labels, round(quiet_s, 3))
        return idle

    def _table(self) -> Iterator[Metric]:
        errors = _counter("table_errors", "Route tables that could not be read; the last good one stays", ())
        errors.add_metric((), self.table_errors)
        yield errors
        loaded = _gauge("table_loaded_timestamp_seconds", "When the table in use was loaded, 0: never", ())
        loaded.add_metric((), self.table_loaded_at_s)
        yield loaded
        info = _gauge("table_info", "The table in use, by the resourceVersion of its ConfigMap", ("version",))
        info.add_metric((self.table_version,), 1.0 if self.table_version else 0.0)
        yield info
        ignored = _gauge(
            "table_parts_ignored", "Optional parts of the table that a newer router would use", ()
        )
        ignored.add_metric((), len(self.table_ignored))
        yield ignored
        missing = _gauge(
            "external_key_missing", "1 where an external tier is off for want of its key", _TIER_LABELS
        )
        for labels, absent in self.keys_missing.items():
            missing.add_metric(labels, float(absent))
        yield missing
        if self.bodies is not None:
            yield from _held(self.bodies)
        down = _gauge(
            "external_down", "1 for an external tier that this router cannot ask", (*_POOL_LABELS, "reason")
        )
        for model_tier, why in self.outages().items():
            down.add_metric((self.namespace, model_tier, why), 1.0)
        yield down
        if self.access_log is not None:
            lines = _counter(
                "access_log_lines", "Lines of the access log, by what became of them", ("result",)
            )
            lines.add_metric(("Written",), self.access_log.written)
            lines.add_metric(("Dropped",), self.access_log.dropped)
            yield lines
        if self.api_keys is not None:
            entries = _gauge("api_keys", "Entries of API keys, by whether they can be used", ("state",))
            for state, count in self.api_keys().items():
                entries.add_metric((state,), count)
            yield entries


def _held(bodies: Bodies) -> Iterator[Metric]:
    held = _gauge("held_bytes", "Bodies of requests, and of answers, that are held", ("kind",))
    held.add_metric(("request",), bodies.bytes_held)
    held.add_metric(("answer",), bodies.answers_held)
    yield held
    unheld = _counter(
        "answers_unheld", "Answers that were sent as they came, unjudged, for want of memory", ()
    )
    unheld.add_metric((), bodies.unheld)
    yield unheld


def _counters(tiers: list[TierStats]) -> Iterator[Metric]:
    started = _counter("requests_started", "Requests by the tier they entered", _TIER_LABELS)
    answered = _counter("requests_answered", "Requests by the tier whose answer the client got", _TIER_LABELS)
    errors = _counter("request_errors", "Errors that clients saw, by kind", (*_TIER_LABELS, "kind"))
    attempts = _counter("attempts", "Attempts by how they ended", (*_TIER_LABELS, "outcome"))
    tokens = _counter("tokens", "Tokens of answers", (*_TIER_LABELS, "type"))
    cost = _counter("cost_dollars", "What those tokens cost, by spec.price of their ModelTier", _TIER_LABELS)
    away = _counter(
        "turned_away", "Times that a tier did not take a request, by reason", (*_TIER_LABELS, "reason")
    )
    overflowed = _counter(
        "overflowed", "Requests that left a busy or failing tier", (*_TIER_LABELS, "reason")
    )
    in_flight = _gauge("requests_in_flight", "Requests at a tier now, waiting ones included", _TIER_LABELS)
    entry = _gauge("entry_share", "Part of the requests that enter a tier now, 0 to 1", _TIER_LABELS)
    for stats in tiers:
        entry.add_metric(stats.labels, stats.entry_share)
        started.add_metric(stats.labels, stats.started)
        answered.add_metric(stats.labels, stats.answered)
        in_flight.add_metric(stats.labels, stats.in_flight)
        cost.add_metric(stats.labels, stats.dollars())
        tokens.add_metric((*stats.labels, "input"), stats.tokens_in)
        tokens.add_metric((*stats.labels, "output"), stats.tokens_out)
        for kind, count in stats.errors.items():
            errors.add_metric((*stats.labels, kind), count)
        for outcome, count in stats.attempts.items():
            attempts.add_metric((*stats.labels, outcome), count)
        for reason, count in stats.turned_away.items():
            away.add_metric((*stats.labels, reason), count)
        for reason, count in stats.overflowed.items():
            overflowed.add_metric((*stats.labels, reason), count)
    yield from (started, answered, errors, attempts, tokens, cost, away, overflowed, in_flight, entry)


def _judgements(tiers: list[TierStats]) -> Iterator[Metric]:
    judged = _counter("judged", "Answers by the verdict on them", (*_TIER_LABELS, "verdict"))
    escalated = _counter(
        "escalations", "Answers that were not sent: the next tier was asked", (*_TIER_LABELS, "reason")
    )
    # Log probabilities are negative, so this one has no sum and no count beside its buckets.
    score = _histogram("score", "The signal of judged answers, a log probability")
    held = _histogram("hold_back_seconds", "Streams: from the first token to the verdict")
    for stats in tiers:
        for verdict, count in stats.judged.items():
            judged.add_metric((*stats.labels, verdict), count)
        for reason, count in stats.escalated.items():
            escalated.add_metric((*stats.labels, reason), count)
        score.add_metric(stats.labels, stats.score.buckets(), None)
        held.add_metric(stats.labels, stats.hold_back.buckets(), stats.hold_back.sum_s)
    yield from (judged, escalated, score, held)


def _pools(pools: list[PoolStats]) -> Iterator[Metric]:
    retried = _counter("retries", "Attempts at a tier beyond a request's first there", _POOL_LABELS)
    ejected = _counter(
        "replicas_ejected", "Times that a replica was taken out, by reason", (*_POOL_LABELS, "reason")
    )
    out = _gauge("replicas_out", "Replicas that are out, or probed one request at a time", _POOL_LABELS)
    waiting = _gauge("requests_waiting", "Requests that wait for a place at a replica", _POOL_LABELS)
    tenants = _gauge("tenants_waiting", "Tenants (API keys) whose requests wait for a place", _POOL_LABELS)
    displaced = _counter(
        "requests_displaced",
        "Requests that left a full line for one of a tenant with fewer in it",
        _POOL_LABELS,
    )
    held = _gauge("requests_held", "Requests that wait for the first replica of a cold tier", _POOL_LABELS)
    holds = _counter("holds", "Requests that had to wait for the first replica of a cold tier", _POOL_LABELS)
    for stats in pools:
        retried.add_metric(stats.labels, stats.retried)
        out.add_metric(stats.labels, stats.out)
        waiting.add_metric(stats.labels, stats.waiting)
        tenants.add_metric(stats.labels, stats.tenants)
        displaced.add_metric(stats.labels, stats.displaced)
        held.add_metric(stats.labels, stats.held)
        holds.add_metric(stats.labels, stats.holds)
        for reason, count in stats.ejected.items():
            ejected.add_metric((*stats.labels, reason), count)
    yield from (retried, ejected, out, waiting, tenants, displaced, held, holds)


def _histograms(tiers: list[TierStats]) -> Iterator[Metric]:
    first = _histogram("time_to_first_token_seconds", "Streams: from asking for a replica to the first event")
    inter = _histogram("inter_token_latency_seconds", "Streams: time between two events")
    mean = _histogram("answer_inter_token_seconds", "Streams: mean time between two tokens of an answer")
    whole = _histogram("request_duration_seconds", "From the whole request to the last byte of its answer")
    for stats in tiers:
        first.add_metric(stats.labels, stats.first_token.buckets(), stats.first_token.sum_s)
        inter.add_metric(stats.labels, stats.inter_token.buckets(), stats.inter_token.sum_s)
        mean.add_metric(stats.labels, stats.answer_inter_token.buckets(), stats.answer_inter_token.sum_s)
        whole.add_metric(stats.labels, stats.duration.buckets(), stats.duration.sum_s)
    yield from (first, inter, mean, whole)


def _counter(name: str, text: str, labels: tuple[str, ...]) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"{_PREFIX}_{name}", text, labels=_TIER_LABELS)
