"""The structure loop's own metrics."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.ports import Key

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class StructureMetrics:
    """Everything under modelfleet_operator_ that the structure loop counts."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._seconds = Histogram(
            "modelfleet_operator_reconcile_seconds",
            "Time of one reconcile.",
            ["kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._failures = Counter(
            "modelfleet_operator_reconcile_failures_total",
            "Reconciles that failed.",
            ["kind"],
            registry=registry,
        )
        self.queue_depth = Gauge(
            "modelfleet_operator_queue_depth", "Objects that wait for a worker.", registry=registry
        )
        self.leading = Gauge("modelfleet_operator_leading", "1 while this process leads.", registry=registry)
        self.watch_overdue = Gauge(
            "modelfleet_operator_watch_overdue_seconds",
            "Age of the oldest change no watch delivered.",
            registry=registry,
        )
        self.settings_broken = Gauge(
            "modelfleet_operator_settings_broken",
            "1 while the newest settings cannot be used.",
            registry=registry,
        )
        self._price = Gauge(
            "modelfleet_operator_node_pool_price_per_hour",
            "US dollars per hour and unit of a node pool.",
            ["node_pool"],
            registry=registry,
        )

    def reconciled(self, key: Key, took_s: float, failures: int) -> None:
        """Count one reconcile."""
        self._seconds.labels(key.kind).observe(took_s)
        if failures:
            self._failures.labels(key.kind).inc()

    def settings(self, settings: FleetSettings) -> None:
        """Show the prices of the node pools."""
        self._price.clear()
        for name, pool in settings.node_pools.items():
            if pool.price_per_hour is not None:
                self._price.labels(name).set(float(pool.price_per_hour))
