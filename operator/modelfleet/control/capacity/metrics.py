"""What the capacity loop shows of itself, as Prometheus metrics.  Times in seconds."""

from collections.abc import Collection

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from modelfleet.control.capacity.budget_metrics import BudgetMetrics
from modelfleet.control.capacity.controls_metrics import ControlsMetrics
from modelfleet.control.capacity.plan_metrics import PlanMetrics

_TIER = ("fleet_namespace", "model_tier")
_STEP = ("fleet_namespace", "cascade", "tier")


class CapacityMetrics:
    """The instruments; one set per registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.plans = PlanMetrics(registry)
        self.controls = ControlsMetrics(registry)
        self.budgets = BudgetMetrics(registry)
        self._tiers: set[tuple[str, str]] = set()
        self._steps: set[tuple[str, str, str]] = set()
        prefix = "modelfleet_operator_"
        self.desired_replicas = Gauge(
            f"{prefix}desired_replicas", "Replicas wanted.", _TIER, registry=registry
        )
        self.ready_replicas = Gauge(
            f"{prefix}ready_replicas", "Replicas that answer.", _TIER, registry=registry
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
        self.metrics_source = Gauge(
            f"{prefix}metrics_source",
            "ModelTiers by where their load comes from.",
            ("source",),
            registry=registry,
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

    def keep_only(
        self, *, tiers: Collection[tuple[str, str]], steps: Collection[tuple[str, str, str]]
    ) -> None:
        """Drop the gauges of objects that are gone, so that they do not stay for ever."""
        for tier in self._tiers.difference(tiers):
            for gauge in (
                self.desired_replicas,
                self.ready_replicas,
                self.metrics_age,
            ):
                gauge.remove(*tier)
        for step in self._steps.difference(steps):
            self.weight_permille.remove(*step)
        self.controls.keep_only(tiers=tiers, cascades={step[:2] for step in steps})
        self._tiers, self._steps = set(tiers), set(steps)
