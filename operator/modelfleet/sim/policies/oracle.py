"""Bounds that no policy can pass: the future known, with and without whole replicas and cold starts."""

import math
from collections.abc import Mapping, Sequence

from modelfleet.plan.sizing import Lengths, Objectives, capacity
from modelfleet.sim.fleet import Cascade
from modelfleet.sim.policies.simple import bounded
from modelfleet.sim.policy import Orders, Seen

_SMOOTH_S = 5  # a backlog of so many seconds still keeps the objectives


class Oracle:
    """Knows every second to come: as many replicas as the rest of a cold start needs, and not one more."""

    look_s = 15.0

    def __init__(
        self, rates_rps: Mapping[str, float], per_second: Sequence[float], shares: Sequence[float]
    ) -> None:
        """`rates_rps`: by tier, what one replica is given; `shares`: of the entries, in the same order."""
        self.name = "oracle"
        self._needs = {
            name: _needs(per_second, share / rate_rps)
            for (name, rate_rps), share in zip(rates_rps.items(), shares, strict=True)
        }

    def decide(self, seen: Seen) -> Orders:
        replicas = {}
        for tier in seen.tiers:
            needs = self._needs.get(tier.tier.name)
            if needs is None:
                continue
            now = int(seen.now_s)
            ready_s = now + math.ceil(tier.tier.cold.median_s * 1.3 + self.look_s)
            replicas[tier.tier.name] = bounded(tier, max(needs[now : ready_s + 1], default=0))
        return Orders(replicas)


def fractional_gpu_h(
    cascade: Cascade, lengths: Lengths, per_second: Sequence[float], shares: Sequence[float]
) -> float:
    """GPU hours if replicas could be split and started at once: a lower bound at full attainment of the means."""
    goals = Objectives(cascade.slo.ttft_s, cascade.slo.itl_s)
    total = sum(per_second)
    return sum(
        total * share / capacity(tier.engine, lengths, goals).rate_rps * tier.gpus / 3600
        for tier, share in zip(cascade.tiers, shares, strict=True)
        if not tier.external
    )


def _needs(per_second: Sequence[float], replicas_per_rps: float) -> list[int]:
    """Whole replicas for every second, for the load smoothed over what may wait."""
    needs, recent = [], 0.0
    for at, came in enumerate(per_second):
        recent += came - (per_second[at - _SMOOTH_S] if at >= _SMOOTH_S else 0.0)
        needs.append(math.ceil(recent / min(_SMOOTH_S, at + 1) * replicas_per_rps - 1e-9))
    return needs
