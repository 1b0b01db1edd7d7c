"""What plans show of themselves, as Prometheus metrics.  Times in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from modelfleet.plan.fleet import Planned
from modelfleet.plan.forecast import growth, level
from modelfleet.plan.learned import Start
from modelfleet.plan.service_level import attained
from modelfleet.plan.snapshot import Name

_CASCADE = ("fleet_namespace", "cascade")
_TIER = ("fleet_namespace", "model_tier")
_QUANTILES = (0.5, 0.75, 0.95)  # of the load until a replica could have started
_OPEN_MAX = 256  # forecasts of one plan and quantile whose outcome is not known yet


@dataclass(slots=True)
class _Forecasts:
    """Of one plan: until when each holds, and what it said, by quantile; None: what was sized for."""

    open: dict[float | None, list[tuple[float, float]]] = field(default_factory=dict)


class PlanMetrics:
    """The instruments; one set per registry.  A plan of several Cascades goes by the name of its owner."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = "modelfleet_operator_"
        self.duration = Histogram(
            f"{prefix}plan_duration_seconds",
            "Time that one look took to be planned, all Cascades together.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=registry,
        )
        self.arrivals = Gauge(
            f"{prefix}arrivals_per_second", "Requests that come now.", _CASCADE, registry=registry
        )
        self.sized_for = Gauge(
            f"{prefix}sized_for_per_second",
            "Requests that all tiers together are sized for; 0: each for its own.",
            _CASCADE,
            registry=registry,
        )
        self.forecasts = Counter(
            f"{prefix}forecasts",
            "Loads that tiers were sized for, by whether more came before a replica could start.",
            (*_CASCADE, "outcome"),
            registry=registry,
        )
        self.expected = Gauge(
            f"{prefix}forecast_per_second",
            "Requests that come at most until a replica could have started, as often as the quantile says.",
            (*_CASCADE, "quantile"),
            registry=registry,
        )
        self.expectations = Counter(
            f"{prefix}forecast_quantiles",
            "Such forecasts, by whether more came before a replica could start.",
            (*_CASCADE, "quantile", "outcome"),
            registry=registry,
        )
        self.attained = Gauge(
            f"{prefix}slo_attained_ratio",
            "Share of the answers of the last hour that kept spec.slo.",
            _CASCADE,
            registry=registry,
        )
        self.planned = Gauge(
            f"{prefix}planned_replicas",
            "Replicas that the plan asks for, before limits on change; of tiers with metrics of their own, too.",
            _TIER,
            registry=registry,
        )
        self.cold_start = Gauge(
            f"{prefix}cold_start_seconds",
            "How long the newest pod that answers took to start.",
            (*_TIER, "phase"),
            registry=registry,
        )
        self._known: dict[Name, _Forecasts] = {}
        self._tiers: set[Name] = set()
        self._started: set[Name] = set()

    def show(
        self,
        planned: Sequence[Planned],
        replicas: Mapping[Name, int],
        started: Mapping[Name, Sequence[Start]],
    ) -> None:
        """Of one look.  `replicas` that plans ask for, by tier."""
        owners = {one.planning.group.owner for one in planned}
        for name in self._known.keys() - owners:
            for gauge in (self.arrivals, self.sized_for, self.attained):
                gauge.remove(*name)
            for quantile in _QUANTILES:
                self.expected.remove(*name, quantile)
        self._known = {name: one for name, one in self._known.items() if name in owners}
        for one in planned:
            self._show(one)
        for tier in self._tiers - replicas.keys():
            self.planned.remove(*tier)
        for tier, count in replicas.items():
            self.planned.labels(*tier).set(count)
        self._tiers = set(replicas)
        self._show_starts({tier: pods[-1] for tier, pods in started.items() if pods})

    def _show(self, one: Planned) -> None:
        owner, look = one.planning.group.owner, one.planning.look
        known = self._known.setdefault(owner, _Forecasts())
        now_rps = level(one.state.rates_rps, look_s=look.look_s)
        self.arrivals.labels(*owner).set(now_rps)
        self.sized_for.labels(*owner).set(one.plan.peak_rps)
        share = attained(one.state)
        if share is not None:
            self.attained.labels(*owner).set(share)
        lead_s = max((tier.lead_s for tier in look.tiers), default=0.0)
        grown = growth(one.state.rates_rps, look_s=look.look_s, horizon_s=lead_s)
        says: dict[float | None, float] = {each: grown.later_rps(now_rps, each) for each in _QUANTILES}
        for quantile, rate_rps in says.items():
            self.expected.labels(*owner, quantile).set(rate_rps)
        for what, forecasts in known.open.items():
            known.open[what] = self._judged(owner, what, forecasts, now_rps, look.now_s)
        if not look.complete or not look.tiers:
            return
        if one.plan.peak_rps:
            says[None] = one.plan.peak_rps
        for what, rate_rps in says.items():
            before = known.open.get(what, [])
            known.open[what] = [*before, (look.now_s + lead_s, rate_rps)][-_OPEN_MAX:]

    def _judged(
        self,
        owner: Name,
        quantile: float | None,
        forecasts: Sequence[tuple[float, float]],
        now_rps: float,
        now_s: float,
    ) -> list[tuple[float, float]]:
        """Those whose outcome is not known yet; the others are counted."""
        still = []
        for until_s, said_rps in forecasts:
            outcome = "Exceeded" if now_rps > said_rps else "Held" if now_s >= until_s else None
            if outcome is None:
                still.append((until_s, said_rps))
            elif quantile is None:
                self.forecasts.labels(*owner, outcome).inc()
            else:
                self.expectations.labels(*owner, quantile, outcome).inc()
        return still

    def _show_starts(self, newest: Mapping[Name, Start]) -> None:
        for tier in self._started - newest.keys():
            for phase in _PHASES:
                self.cold_start.remove(*tier, phase)
        for tier, start in newest.items():
            for phase, seconds in _parts(start):
                self.cold_start.labels(*tier, phase).set(seconds)
        self._started = set(newest)


_PHASES = ("scheduling", "image", "weights", "engine")


def _parts(start: Start) -> list[tuple[str, float]]:
    spans = (start.scheduling_s, start.image_s, start.weights_s, start.engine_s)
    return list(zip(_PHASES, spans, strict=True))
