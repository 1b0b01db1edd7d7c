"""What plans show of themselves, as Prometheus metrics.  Times in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from modelfleet.plan.fleet import Planned
from modelfleet.plan.forecast import level
from modelfleet.plan.learned import Start
from modelfleet.plan.service_level import attained
from modelfleet.plan.snapshot import Name

_CASCADE = ("fleet_namespace", "cascade")
_TIER = ("fleet_namespace", "model_tier")
_OPEN_MAX = 256  # forecasts of one plan whose outcome is not known yet


@dataclass(slots=True)
class _Forecasts:
    """Of one plan: until when each holds, and what it said."""

    open: list[tuple[float, float]] = field(default_factory=list)


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
        still = []
        for until_s, said_rps in known.open:
            if now_rps > said_rps:
                self.forecasts.labels(*owner, "Exceeded").inc()
            elif look.now_s >= until_s:
                self.forecasts.labels(*owner, "Held").inc()
            else:
                still.append((until_s, said_rps))
        if one.plan.peak_rps and look.tiers:
            still.append((look.now_s + max(tier.lead_s for tier in look.tiers), one.plan.peak_rps))
        known.open = still[-_OPEN_MAX:]

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
