"""What each policy's main constants may be tuned to: the grid of an honest comparison.

Targets in requests are what a tier has in flight at a part of its capacity, so one constant fits tiers of any size, and a peer gets for every tier the target that its users would find by load tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from modelfleet.plan.planner import Settings
from modelfleet.plan.sizing import Lengths, step_s
from modelfleet.sim.fleet import Cascade
from modelfleet.sim.policies.ours import Joint, Lead, Relieved
from modelfleet.sim.policies.peers import Dynamo, Keda, Kpa, LlmdQueue, LlmdSlo, WvaV1
from modelfleet.sim.policies.simple import Hpa, KubeAi
from modelfleet.sim.policy import Policy

Constants = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What users find out by load tests: `rates_rps`, by tier, what one replica carries within the objectives."""

    lengths: Lengths
    rates_rps: Mapping[str, float]

    def rates(self, cascade: Cascade, parts: Constants) -> Mapping[str, float]:
        """A part of them, the last part for the last tier."""
        last = len(cascade.tiers) - 1
        return {
            tier.name: (parts[-1] if at == last else parts[0]) * self.rates_rps[tier.name]
            for at, tier in enumerate(cascade.tiers)
        }


@dataclass(frozen=True, slots=True)
class Family:
    """One policy, and the constants that tuning may choose among.  `shipped`: None where it is not a peer's default."""

    build: Callable[[Cascade, Measured, Constants], Policy]
    grid: Sequence[Constants]
    shipped: Callable[[], Policy] | None = None
    ours: bool = False
    alone: Sequence[Constants] = ()  # the grid for one tier, where it differs


def in_flight(cascade: Cascade, tested: Measured, parts: Constants) -> Mapping[str, float]:
    """Requests that one replica of each tier has under way at a part of the rate that it was tested for.

    By rate, because what is under way grows much faster than the rate near the limit.
    """
    found = {}
    for tier, rate_rps in zip(cascade.tiers, tested.rates(cascade, parts).values(), strict=True):
        lasts_s = tested.lengths.output * step_s(tier.engine, tested.lengths, rate_rps)
        # Beyond what the means allow there is no steady number.
        found[tier.name] = max(1.0, min(rate_rps * lasts_s, float(tier.engine.sequences_max)))
    return found


# A tier that is dear may be run closer to its limit than a cheap one: so both are tuned.
_PARTS: Sequence[Constants] = tuple(
    (small, big) for small in (0.6, 0.7, 0.8, 0.9) for big in (0.75, 1.0, 1.25, 1.5, 1.8)
)
_ALONE: Sequence[Constants] = tuple((part,) for part in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
# How far ahead, how much room, and what part may miss.
_OURS: Sequence[Constants] = (
    *((0.5, 0.0, misses) for misses in (0.004, 0.0055, 0.0075, 0.01, 0.015, 0.025, 0.06)),
    *((0.75, 0.5, misses) for misses in (0.007, 0.015)),
    *((0.9, 1.5, misses) for misses in (0.004, 0.007, 0.015)),
)
# Nothing ahead and no room: what is compared with shipped peers that serve half of the requests, one tier each.
_LOOSE: Sequence[Constants] = tuple((0.0, 0.0, misses) for misses in (0.025, 0.12, 0.5))

_UNSURE = Settings(peak=0.5, deviations=0.0, reach=0.0)


def _settings(constants: Constants) -> Settings:
    return Settings(peak=constants[0], deviations=constants[1], misses=constants[2])


FAMILIES: Mapping[str, Family] = {
    "hpa": Family(lambda c, n, k: Hpa(in_flight(c, n, k)), _PARTS, lambda: Hpa(100.0), alone=_ALONE),
    "keda": Family(lambda _c, _n, k: Keda(k[0]), ((0.2,), (1.0,)), Keda),
    "llmd-queue": Family(lambda c, n, k: LlmdQueue(in_flight(c, n, k)), _PARTS, LlmdQueue, alone=_ALONE),
    "llmd-slo": Family(
        lambda _c, _n, k: LlmdSlo(k[0], k[1]),
        ((0.35, 0.25), (0.45, 0.30), (0.55, 0.40), (0.60, 0.50), (0.70, 0.55), (0.80, 0.65)),
        LlmdSlo,
    ),
    "wva-v1": Family(
        lambda _c, _n, k: WvaV1(up_window_s=k[0], down_window_s=240.0, kv_full=k[1]),
        ((0.0, 0.8), (0.0, 0.4), (0.0, 0.3), (0.0, 0.2), (0.0, 0.15), (60.0, 0.3)),
        WvaV1,
    ),
    "kubeai": Family(lambda c, n, k: KubeAi(in_flight(c, n, k)), _PARTS, KubeAi, alone=_ALONE),
    "kpa": Family(lambda c, n, k: Kpa(in_flight(c, n, k)), _ALONE, Kpa, alone=_ALONE),
    "dynamo": Family(
        lambda _c, _n, k: Dynamo(itl_part=k[0]), ((0.4,), (0.5,), (0.65,), (0.8,), (1.0,)), Dynamo
    ),
    "joint": Family(lambda _c, _n, k: Joint(_settings(k)), _OURS, Joint, ours=True),
    "lead": Family(lambda _c, _n, k: Lead(_settings(k)), (*_LOOSE, *_OURS), Lead, ours=True),
    # Ours with one thing taken away.
    "no-bank": Family(lambda _c, _n, k: Joint(_settings(k), fast=False), _OURS, ours=True),
    "no-quantile": Family(lambda _c, _n, _k: Joint(_UNSURE), ((0.5, 0.0, 0.01),), ours=True),
    "no-joint": Family(lambda _c, _n, k: Joint(replace(_settings(k), pooled=False)), _OURS, ours=True),
    "routed": Family(lambda _c, _n, k: Relieved(Lead(_settings(k))), _OURS, ours=True),
    "router-only": Family(lambda c, n, k: Relieved(KubeAi(in_flight(c, n, k))), _PARTS, ours=True),
}
