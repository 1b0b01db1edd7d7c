"""What each policy's main constants may be tuned to: the grid of an honest comparison.

Targets in requests are what a tier has in flight at a part of its capacity, so one constant fits tiers of any size, and a peer gets for every tier the target that its users would find by load tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from modelfleet.plan.planner import Settings
from modelfleet.plan.sizing import Lengths, Objectives, capacity, step_s
from modelfleet.sim.fleet import Cascade
from modelfleet.sim.policies.ours import Joint, Lead, Relieved
from modelfleet.sim.policies.peers import Dynamo, Keda, Kpa, LlmdQueue, LlmdSlo, WvaV1
from modelfleet.sim.policies.simple import Hpa, KubeAi
from modelfleet.sim.policy import Policy

Constants = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One policy, and the constants that tuning may choose among.  `shipped`: None where it is not a peer's default."""

    build: Callable[[Cascade, Lengths, Constants], Policy]
    grid: Sequence[Constants]
    shipped: Callable[[], Policy] | None = None
    ours: bool = False


def in_flight(cascade: Cascade, lengths: Lengths, part: float) -> Mapping[str, float]:
    """Requests that one replica of each tier has under way at a part of the largest rate that keeps the objectives.

    By rate, because what is under way grows much faster than the rate near the limit.
    """
    goals = Objectives(cascade.slo.ttft_s, cascade.slo.itl_s)
    found = {}
    for tier in cascade.tiers:
        rate_rps = part * capacity(tier.engine, lengths, goals).rate_rps
        found[tier.name] = max(1.0, rate_rps * lengths.output * step_s(tier.engine, lengths, rate_rps))
    return found


_PARTS: Sequence[Constants] = ((0.5,), (0.6,), (0.7,), (0.8,), (0.85,), (0.9,))

_OURS: Sequence[Constants] = ((0.5, 0.0), (0.75, 0.5), (0.9, 1.0), (0.95, 1.5), (0.98, 2.5))

_UNSURE = Settings(peak=0.5, deviations=0.0, reach=0.0)


def _settings(constants: Constants) -> Settings:
    return Settings(peak=constants[0], deviations=constants[1])


FAMILIES: Mapping[str, Family] = {
    "hpa": Family(lambda c, n, k: Hpa(in_flight(c, n, k[0])), _PARTS, lambda: Hpa(100.0)),
    "keda": Family(lambda _c, _n, k: Keda(k[0]), ((0.2,), (1.0,)), Keda),
    "llmd-queue": Family(lambda c, n, k: LlmdQueue(in_flight(c, n, k[0])), _PARTS[:5], LlmdQueue),
    "llmd-slo": Family(
        lambda _c, _n, k: LlmdSlo(k[0], k[1]),
        ((0.45, 0.30), (0.55, 0.40), (0.60, 0.50), (0.70, 0.55), (0.80, 0.65)),
        LlmdSlo,
    ),
    "wva-v1": Family(
        lambda _c, _n, k: WvaV1(up_window_s=k[0], down_window_s=240.0, kv_full=k[1]),
        ((0.0, 0.8), (0.0, 0.6), (0.0, 0.4), (0.0, 0.3), (60.0, 0.8)),
        WvaV1,
    ),
    "kubeai": Family(lambda c, n, k: KubeAi(in_flight(c, n, k[0])), _PARTS, KubeAi),
    "kpa": Family(lambda c, n, k: Kpa(in_flight(c, n, k[0])), _PARTS[1:5], Kpa),
    "dynamo": Family(lambda _c, _n, k: Dynamo(itl_part=k[0]), ((0.5,), (0.65,), (0.8,), (1.0,)), Dynamo),
    "joint": Family(lambda _c, _n, k: Joint(_settings(k)), _OURS, Joint, ours=True),
    "lead": Family(lambda _c, _n, k: Lead(_settings(k)), _OURS, Lead, ours=True),
    # Ours with one thing taken away.
    "no-bank": Family(lambda _c, _n, k: Joint(_settings(k), fast=False), _OURS, ours=True),
    "no-quantile": Family(lambda _c, _n, _k: Joint(_UNSURE), ((0.5, 0.0),), ours=True),
    "no-joint": Family(lambda _c, _n, k: Joint(replace(_settings(k), pooled=False)), _OURS, ours=True),
    "routed": Family(lambda _c, _n, k: Relieved(Lead(_settings(k))), _OURS, ours=True),
    "router-only": Family(lambda c, n, k: Relieved(KubeAi(in_flight(c, n, k[0]))), _PARTS, ours=True),
}
