"""Who knows the whole load beforehand: as many replicas as its busiest minute needs, or as every second to come does."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from modelfleet.plan.sizing import Lengths
from modelfleet.sim.fleet import Arrival, Cascade
from modelfleet.sim.policies.oracle import Oracle, fractional_gpu_h
from modelfleet.sim.policies.simple import bounded
from modelfleet.sim.policy import Orders, Seen
from modelfleet.sim.tail import measure

_DRAWN = 4000  # requests whose lengths stand for the load's
_GOOD = 0.99  # of the requests, that a replica is to serve within the objectives
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Load:
    """`per_second`: requests that arrive in each second; `requests`: some of them."""

    per_second: Sequence[float]
    requests: Sequence[Arrival]

    @property
    def lengths(self) -> Lengths:
        """Means."""
        number = max(1, len(self.requests))
        return Lengths(
            sum(one.prompt for one in self.requests) / number,
            sum(one.output for one in self.requests) / number,
            sum(one.cached for one in self.requests) / number,
        )


def look_through(arrivals: Iterable[Arrival], *, seconds: float, seed: int = 0) -> Load:
    """Read a load to its end, and remember counts and a fair sample."""
    counts, kept, random = [0.0] * math.ceil(seconds), list[Arrival](), Random(seed)
    for number, one in enumerate(arrivals):
        if one.at_s >= seconds:
            break
        counts[int(one.at_s)] += 1
        if len(kept) < _DRAWN:
            kept.append(one)
        elif (at := random.randrange(number + 1)) < _DRAWN:
            kept[at] = one
    return Load(counts, kept)


def rates_rps(cascade: Cascade, load: Load) -> Mapping[str, float]:
    """By tier, what one replica carries: a load test of each on the requests of the load."""
    return {
        tier.name: measure(tier.engine, load.requests, cascade.slo).rate_rps(_GOOD)
        for tier in cascade.tiers
        if not tier.external
    }


class Peak:
    """A fixed fleet for the busiest minute: what careful teams run without a scaler."""

    name, look_s = "peak", 15.0

    def __init__(self, cascade: Cascade, load: Load, shares: Sequence[float]) -> None:
        """`shares`: of the entries, by tier."""
        counts = load.per_second
        minutes = [sum(counts[at : at + _MINUTE]) / _MINUTE for at in range(0, len(counts), _MINUTE)]
        rates, busiest_rps = rates_rps(cascade, load), max(minutes, default=0.0)
        self._needs = {
            tier.name: math.ceil(busiest_rps * share / rates[tier.name] - 1e-9)
            for tier, share in zip(cascade.tiers, shares, strict=True)
            if tier.name in rates
        }

    def decide(self, seen: Seen) -> Orders:
        return Orders(
            {
                tier.tier.name: bounded(tier, self._needs[tier.tier.name])
                for tier in seen.tiers
                if tier.tier.name in self._needs
            }
        )


def oracle(cascade: Cascade, load: Load, shares: Sequence[float]) -> Oracle:
    """Knows every second to come: no policy of whole replicas can do with less at the same attainment."""
    rates = rates_rps(cascade, load)
    named = {tier.name: share for tier, share in zip(cascade.tiers, shares, strict=True)}
    return Oracle(rates, load.per_second, [named[name] for name in rates])


def least_gpu_h(cascade: Cascade, load: Load, shares: Sequence[float]) -> float:
    """GPU hours if replicas could be split and started at once."""
    return fractional_gpu_h(cascade, load.lengths, load.per_second, shares)
