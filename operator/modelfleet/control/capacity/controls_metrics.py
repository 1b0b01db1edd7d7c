"""What came of the user's controls, as Prometheus metrics: observed plans, node pools, chosen thresholds."""

from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, Gauge

from modelfleet.plan.snapshot import Pool

_Tier = tuple[str, str]
_Step = tuple[str, str, str]


class ControlsMetrics:
    """The instruments; one set per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tiers: set[_Tier] = set()
        self._steps: set[_Step] = set()
        self._pools: set[str] = set()
        prefix = "modelfleet_operator_"
        self._would_be = Gauge(
            f"{prefix}would_be_replicas",
            "Replicas that a tier in mode Observe would be given.",
            ("fleet_namespace", "model_tier"),
            registry=registry,
        )
        self._units = Gauge(
            f"{prefix}node_pool_units",
            "Units wanted of a pool that has a limit.",
            ("node_pool",),
            registry=registry,
        )
        self._units_max = Gauge(
            f"{prefix}node_pool_units_max",
            "Units that all tiers of a pool may have.",
            ("node_pool",),
            registry=registry,
        )
        self._threshold = Gauge(
            f"{prefix}accept_threshold",
            "Lowest score that is accepted, where the operator chooses it.",
            ("fleet_namespace", "cascade", "tier"),
            registry=registry,
        )

    def show_plan(self, tier: _Tier, replicas: int | None) -> None:
        """What mode Observe would do; None: the tier is in no such mode, or nobody can tell."""
        if replicas is None:
            self._would_be.remove(*tier)
            self._tiers.discard(tier)
        else:
            self._would_be.labels(*tier).set(replicas)
            self._tiers.add(tier)

    def show_thresholds(self, cascade: _Tier, thresholds: Mapping[str, float]) -> None:
        """The thresholds chosen for a Cascade, by tier."""
        chosen = {(*cascade, tier) for tier in thresholds}
        for gone in [step for step in self._steps if step[:2] == cascade and step not in chosen]:
            self._threshold.remove(*gone)
            self._steps.discard(gone)
        for tier, value in thresholds.items():
            self._threshold.labels(*cascade, tier).set(value)
        self._steps |= chosen

    def show_pools(self, units: Mapping[str, int], pools: Mapping[str, Pool]) -> None:
        """What is wanted of each pool that has a limit, beside the limit."""
        for gone in self._pools - pools.keys():
            self._units.remove(gone)
            self._units_max.remove(gone)
        for name, pool in pools.items():
            self._units.labels(name).set(units[name])
            self._units_max.labels(name).set(pool.units_max)
        self._pools = set(pools)

    def keep_only(self, *, tiers: Collection[_Tier], cascades: Collection[_Tier]) -> None:
        """Drop the gauges of objects that are gone."""
        for tier in [tier for tier in self._tiers if tier not in tiers]:
            self.show_plan(tier, None)
        for cascade in {step[:2] for step in self._steps if step[:2] not in cascades}:
            self.show_thresholds(cascade, {})
