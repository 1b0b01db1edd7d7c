"""What the capacity loop shows of itself, as Prometheus metrics.  Times in seconds."""

from collections.abc import Collection, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from modelfleet.plan.snapshot import Pool

_TIER = ("fleet_namespace", "model_tier")
_STEP = ("fleet_namespace", "cascade", "tier")


class CapacityMetrics:
    """The instruments; one set per registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._tiers: set[tuple[str, str]] = set()
        self._steps: set[tuple[str, str, str]] = set()
        self._pools: set[str] = set()
        prefix = "modelfleet_operator_"
        self.desired_replicas = Gauge(
            f"{prefix}desired_replicas", "Replicas wanted.", _TIER, registry=registry
        )
        self.ready_replicas = Gauge(
            f"{prefix}ready_replicas", "Replicas that answer.", _TIER, registry=registry
        )
        self.would_be_replicas = Gauge(
            f"{prefix}would_be_replicas",
            "Replicas that a tier in mode Observe would be given.",
            _TIER,
            registry=registry,
        )
        self.pool_units = Gauge(
            f"{prefix}node_pool_units",
            "Units wanted of a pool that has a limit.",
            ("node_pool",),
            registry=registry,
        )
        self.pool_units_max = Gauge(
            f"{prefix}node_pool_units_max",
            "Units that all tiers of a pool may have.",
            ("node_pool",),
            registry=registry,
        )
        self.scale_decisions = Counter(
            f"{prefix}scale_decisions",
            "Decisions about replicas, one per tier and tick.",
            (*_TIER, "direction", "reason"),
            registry=registry,
        )
        self.weight_permille = Gauge(
            f"{prefix}weight_permille", "Share of requests that start at a tier.", _STEP, registry=registry
        )
        self.weight_changes = Counter(
            f"{prefix}weight_changes",
            "Changes of entry weights.",
            ("fleet_namespace", "cascade", "reason"),
            registry=registry,
        )
        self.wake_calls = Counter(
            f"{prefix}wake_calls",
            "Calls of routers for a tier that sleeps, by what came of them.",
            ("outcome",),
            registry=registry,
        )
        self.metrics_age = Gauge(
            f"{prefix}metrics_age_seconds", "Age of a tier's oldest sample.", _TIER, registry=registry
        )
        self.query_duration = Histogram(
            f"{prefix}prometheus_query_duration_seconds",
            "Time one query took.",
            ("query",),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.query_errors = Counter(
            f"{prefix}prometheus_query_errors", "Looks at Prometheus that failed.", registry=registry
        )
        self.last_tick = Gauge(
            f"{prefix}last_tick_timestamp_seconds", "When the capacity loop last decided.", registry=registry
        )

    def observe_query(self, query: str, duration_s: float) -> None:
        """For the adapter."""
        self.query_duration.labels(query).observe(duration_s)

    def show_plan(self, tier: tuple[str, str], replicas: int | None) -> None:
        """What mode Observe would do; None: the tier is in no such mode, or nobody can tell."""
        if replicas is None:
            self.would_be_replicas.remove(*tier)
        else:
            self.would_be_replicas.labels(*tier).set(replicas)

    def show_pools(self, units: Mapping[str, int], pools: Mapping[str, Pool]) -> None:
        """What is wanted of each pool that has a limit, beside the limit."""
        for gone in self._pools - pools.keys():
            self.pool_units.remove(gone)
            self.pool_units_max.remove(gone)
        for name, pool in pools.items():
            self.pool_units.labels(name).set(units[name])
            self.pool_units_max.labels(name).set(pool.units_max)
        self._pools = set(pools)

    def keep_only(
        self, *, tiers: Collection[tuple[str, str]], steps: Collection[tuple[str, str, str]]
    ) -> None:
        """Drop the gauges of objects that are gone, so that they do not stay for ever."""
        for tier in self._tiers.difference(tiers):
            for gauge in (
                self.desired_replicas,
                self.ready_replicas,
                self.metrics_age,
                self.would_be_replicas,
            ):
                gauge.remove(*tier)
        for step in self._steps.difference(steps):
            self.weight_permille.remove(*step)
        self._tiers, self._steps = set(tiers), set(steps)
