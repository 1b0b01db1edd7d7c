"""The project's own planner, run on what the simulated fleet shows."""

import math
from collections import deque

from modelfleet.plan.forecast import forecast
from modelfleet.plan.joint import Option, choose
from modelfleet.plan.sizing import Lengths, Objectives, capacity
from modelfleet.sim.policies.simple import bounded
from modelfleet.sim.policy import Orders, Published, Seen, TierSeen


class Lead:
    """One tier: enough for the quantile of the load until a new replica would be ready."""

    look_s = 15.0

    def __init__(self, quantile: float = 0.98, *, down_s: float = 300.0, headroom: float = 1.0) -> None:
        self.name = f"lead-{quantile:g}"
        self._quantile, self._down_s, self._headroom = quantile, down_s, headroom
        self._rates: dict[str, deque[float]] = {}
        self._wishes: dict[str, deque[tuple[float, int]]] = {}

    def decide(self, seen: Seen) -> Orders:
        if seen.lost:
            return Orders({})
        return Orders(
            {tier.tier.name: self._one(tier, seen) for tier in seen.tiers if not tier.tier.external}
        )

    def _one(self, tier: TierSeen, seen: Seen) -> int:
        name = tier.tier.name
        window = tier.window(self.look_s)
        rates = self._rates.setdefault(name, deque(maxlen=400))
        rates.append(window.rate_rps)
        lengths = tier.window(600.0)
        if lengths.prompt_tokens_mean is None or lengths.output_tokens_mean is None:
            return tier.wanted
        slo = seen.cascade.slo
        cap = capacity(
            tier.tier.engine,
            Lengths(lengths.prompt_tokens_mean, lengths.output_tokens_mean),
            Objectives(slo.ttft_s, slo.itl_s),
        ).rate_rps
        horizon_s = tier.tier.cold.median_s + self.look_s
        ahead = forecast(tuple(rates), look_s=self.look_s, horizon_s=horizon_s, quantile=self._quantile)
        wish = bounded(tier, math.ceil(self._headroom * ahead.later_rps / max(1e-9, cap)))
        wishes = self._wishes.setdefault(name, deque())
        wishes.append((seen.now_s, wish))
        while wishes[0][0] < seen.now_s - self._down_s:
            wishes.popleft()
        return max(wish, min(tier.wanted, max(w for _, w in wishes)))


class Joint:
    """The whole cascade at once: pooled peaks, each tier's own share, and a router that moves within a second."""

    look_s = 15.0

    def __init__(
        self,
        *,
        peak: float = 0.98,
        own: float = 0.5,
        down_s: float = 300.0,
        margin: float = 1.0,
        fast: bool = True,
    ) -> None:
        self.name = f"joint-{peak:g}-{own:g}-{margin:g}"
        self._peak, self._own, self._down_s, self._margin, self._fast = peak, own, down_s, margin, fast
        self._rates: deque[float] = deque(maxlen=400)
        self._wishes: dict[str, deque[tuple[float, int]]] = {}

    def decide(self, seen: Seen) -> Orders:
        if seen.lost:
            return Orders({})
        self._rates.append(seen.entered / self.look_s)
        target = seen.cascade.share_floor
        slo = Objectives(seen.cascade.slo.ttft_s, seen.cascade.slo.itl_s)
        options, under_way, carries = [], [], []
        rates = tuple(self._rates)
        for index, tier in enumerate(seen.tiers):
            lengths = tier.window(600.0)
            if lengths.prompt_tokens_mean is None or lengths.output_tokens_mean is None:
                return Orders({})
            mean = Lengths(lengths.prompt_tokens_mean, lengths.output_tokens_mean)
            rate = capacity(tier.tier.engine, mean, slo).rate_rps
            horizon_s = tier.tier.cold.median_s + self.look_s
            own = forecast(rates, look_s=self.look_s, horizon_s=horizon_s, quantile=self._own).later_rps
            part = target if index == len(seen.tiers) - 1 else 0.5 * (1 - target)
            options.append(
                Option(
                    tier.tier.name,
                    rate / self._margin,
                    tier.tier.gpus,
                    own * part,
                    tier.tier.replicas_min,
                    tier.tier.replicas_max,
                    tier.wanted,
                )
            )
            carries.append(rate)
            under_way.append(rate * mean.output * slo.itl_s)
        horizon_s = max(tier.tier.cold.median_s for tier in seen.tiers) + self.look_s
        peak = forecast(rates, look_s=self.look_s, horizon_s=horizon_s, quantile=self._peak).later_rps
        choice = choose(options, peak)
        replicas = {
            tier.tier.name: self._steady(tier, seen.now_s, wish)
            for tier, wish in zip(seen.tiers, choice.replicas, strict=True)
        }
        published = Published(target, carries, under_way) if self._fast else None
        return Orders(replicas, published=published)

    def _steady(self, tier: TierSeen, now_s: float, wish: int) -> int:
        wishes = self._wishes.setdefault(tier.tier.name, deque())
        wishes.append((now_s, wish))
        while wishes[0][0] < now_s - self._down_s:
            wishes.popleft()
        return max(wish, min(tier.wanted, max(w for _, w in wishes)))
