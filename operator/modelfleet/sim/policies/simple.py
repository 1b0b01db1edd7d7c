"""A fixed size, and the arithmetic that the peers share: HPA's ratio, stabilization and rate limits."""

import math
from collections import deque
from collections.abc import Mapping

from modelfleet.sim.policy import Orders, Seen, TierSeen


class Static:
    """Never changes anything."""

    name = "static"
    look_s = 15.0

    def decide(self, seen: Seen) -> Orders:  # noqa: ARG002
        return Orders({})


Target = float | Mapping[str, float]  # for all tiers, or by tier


def target_of(target: Target, tier: TierSeen) -> float:
    return target if isinstance(target, int | float) else target[tier.tier.name]


def label(target: Target) -> str:
    return (
        f"{target:g}"
        if isinstance(target, int | float)
        else "/".join(f"{one:.0f}" for one in target.values())
    )


def bounded(tier: TierSeen, wanted: int) -> int:
    return max(tier.tier.replicas_min, min(tier.tier.replicas_max, wanted))


def average_value(total: float, target: float, replicas: int, *, tolerance: float = 0.1) -> int:
    """HPA v2 on an AverageValue: the amount by the target of one replica, and nothing within the tolerance.

    Source: kubernetes/kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, GetExternalPerPodMetricReplicas.
    """
    ratio = total / (target * max(1, replicas))
    if abs(ratio - 1) <= tolerance + _ROUNDING:
        return replicas
    return math.ceil(total / target - _ROUNDING)


_ROUNDING = 1e-9


class Damper:
    """HPA v2's `behavior` for one tier: the safest wish of a window, and limits on the rate of change.

    Source: kubernetes/kubernetes `pkg/controller/podautoscaler/horizontal.go`.
    """

    def __init__(
        self,
        *,
        up_window_s: float = 0.0,
        down_window_s: float = 300.0,
        up_percent: float = 100.0,
        up_pods: int = 4,
        up_period_s: float = 15.0,
        down_percent: float = 100.0,
        down_pods: int | None = None,
        down_period_s: float = 15.0,
    ) -> None:
        self._up_window_s, self._down_window_s = up_window_s, down_window_s
        self._up_percent, self._up_pods, self._up_period_s = up_percent, up_pods, up_period_s
        self._down_percent, self._down_pods, self._down_period_s = down_percent, down_pods, down_period_s
        self._wishes: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()

    def settle(self, now_s: float, current: int, wish: int) -> int:
        """Replicas that may be ordered now."""
        memory_s = max(self._up_window_s, self._down_window_s, self._up_period_s, self._down_period_s)
        self._wishes.append((now_s, wish))
        while self._wishes[0][0] < now_s - memory_s:
            self._wishes.popleft()
        low = min(w for at_s, w in self._wishes if at_s >= now_s - self._up_window_s)
        high = max(w for at_s, w in self._wishes if at_s >= now_s - self._down_window_s)
        stable = low if low > current else min(current, high)
        wanted = self._limited(now_s, current, stable)
        if wanted != current:
            self._changes.append((now_s, wanted - current))
        while self._changes and self._changes[0][0] < now_s - memory_s:
            self._changes.popleft()
        return wanted

    def _limited(self, now_s: float, current: int, stable: int) -> int:
        if stable > current:
            start = current - self._changed(now_s - self._up_period_s)
            return min(
                stable, max(start + self._up_pods, math.ceil(start * (1 + self._up_percent / 100)), current)
            )
        if stable < current:
            start = current - self._changed(now_s - self._down_period_s)
            by_percent = math.floor(start * (1 - self._down_percent / 100))
            floor = by_percent if self._down_pods is None else max(by_percent, start - self._down_pods)
            return max(stable, min(floor, current))
        return current

    def _changed(self, since_s: float) -> int:
        """Since the start of a period, ups and downs alike."""
        return sum(by for at_s, by in self._changes if at_s > since_s)


class Hpa:
    """HPA v2 on requests in flight per replica as an AverageValue, every 15 s; a metric that is lost holds.

    Source: kubernetes/kubernetes `pkg/controller/podautoscaler/horizontal.go`, with the defaults of autoscaling/v2.
    """

    def __init__(
        self, target: Target, *, tolerance: float = 0.1, look_s: float = 15.0, down_window_s: float = 300.0
    ) -> None:
        self.name = f"hpa-concurrency-{label(target)}"
        self.look_s = look_s
        self._target, self._tolerance, self._down_window_s = target, tolerance, down_window_s
        self._dampers: dict[str, Damper] = {}

    def decide(self, seen: Seen) -> Orders:
        if seen.lost:
            return Orders({})
        return Orders(
            {tier.tier.name: self._one(tier, seen.now_s) for tier in seen.tiers if not tier.tier.external}
        )

    def _one(self, tier: TierSeen, now_s: float) -> int:
        target = target_of(self._target, tier)
        wish = average_value(tier.in_flight, target, tier.wanted, tolerance=self._tolerance)
        damper = self._dampers.setdefault(tier.tier.name, Damper(down_window_s=self._down_window_s))
        return damper.settle(now_s, tier.wanted, bounded(tier, wish))


class KubeAi:
    """KubeAI: a 10 minute mean of active requests, that begins with zeros, every 10 s; shipped with a target of 100.

    Down only at the look after ceil(30 s / 10 s) looks that all asked for it; the count goes on from there.
    Source: substratusai/kubeai `internal/modelautoscaler/autoscaler.go` and `internal/modelclient/scale.go`.
    """

    look_s = 10.0

    def __init__(
        self, target: Target = 100.0, *, window_s: float = 600.0, down_delay_s: float = 30.0
    ) -> None:
        self.name = f"kubeai-{label(target)}"
        self._target = target
        self._size = round(window_s / self.look_s)
        self._needed = math.ceil(down_delay_s / self.look_s)
        self._means: dict[str, deque[float]] = {}
        self._agreed: dict[str, int] = {}

    def decide(self, seen: Seen) -> Orders:
        if seen.lost:
            return Orders({})
        return Orders({tier.tier.name: self._one(tier) for tier in seen.tiers if not tier.tier.external})

    def _one(self, tier: TierSeen) -> int:
        name = tier.tier.name
        past = self._means.setdefault(name, deque([0.0] * self._size, maxlen=self._size))
        past.append(float(tier.in_flight))
        wish = bounded(tier, math.ceil(sum(past) / len(past) / target_of(self._target, tier)))
        if wish >= tier.wanted:
            self._agreed[name] = 0
            return wish
        agreed = self._agreed.get(name, 0)
        if agreed < self._needed:
            self._agreed[name] = agreed + 1
            return tier.wanted
        return wish
