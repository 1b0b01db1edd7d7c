"""What was measured of one tier against the targets of its spec.scaling, with age and completeness: decides nothing."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelfleet.api.meta import seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.scaling import ScalingMetric
from modelfleet.plan.asked import Answer
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import FleetLoad, TierLoad
from modelfleet.plan.snapshot import Idle, Missing, Name, Reading, Sample, Silent, Target

STALE_AFTER_S = 60.0  # two lost scrapes at the longest interval that the queries' windows allow
QUEUE_TARGET = 1.0  # waiting requests per replica that call a tier saturated, unless it sets a Queue target
_PERCENT = 100
_LATENCIES = ("TTFT", "ITL")


@dataclass(frozen=True, slots=True)
class Expected:
    """Who must have contributed to a complete number: ready routers and replicas of a tier."""

    routers: Callable[[Name], int]
    replicas: Callable[[Name], int]


class Readings:
    """The numbers of one look, taken `taken_ago_s` ago; `answers` by the user's own queries."""

    def __init__(
        self, load: FleetLoad, expected: Expected, *, taken_ago_s: float, answers: Mapping[str, Answer]
    ) -> None:
        self._load = load
        self._expected = expected
        self._taken_ago_s = taken_ago_s
        self._answers = answers

    def target(self, tier: Name, metric: ScalingMetric) -> Target:
        """The metric, with what was measured for it."""
        value = target_value(metric)
        if value is None:
            return Target(metric.name, metric.type, math.inf, Missing())
        if metric.type == "PromQL":
            return self._asked(metric, value)
        return Target(metric.name, metric.type, value, self._reading(tier, metric))

    def in_flight(self, tier: Name) -> Reading:
        """Requests in the whole tier."""
        load = self._of(tier)
        return Missing() if load.in_flight is None else self._sample(tier, load.in_flight)

    def engines_silent(self, tier: Name, *, must_tell: bool) -> Silent:
        """Which engines could not be read: what those hold is unknown.

        `must_tell`: they can be read, so where none is, something stands between.
        """
        found, expected = self._of(tier).engines, self._expected.replicas(tier)
        if found >= expected:
            return ""
        return "some" if found else "all" if must_tell else ""

    def _reading(self, tier: Name, metric: ScalingMetric) -> Reading:
        load = self._of(tier)
        if metric.type in _LATENCIES:
            measured = load.ttft if metric.type == "TTFT" else load.itl
            return self._quantile(tier, measured, metric.percentile)
        if metric.type == "KVCache":
            return self._kv_used(tier)
        return self.in_flight(tier)

    def _quantile(self, tier: Name, measured: Buckets | None, percentile: int) -> Reading:
        if measured is None:
            return Missing()
        value = measured.quantile(percentile / _PERCENT)
        if value is None:
            return Idle() if self._fresh(tier) else Missing()
        return self._sample(tier, value)

    def _kv_used(self, tier: Name) -> Reading:
        """Said by the engines themselves, so they must all have been read; their age is that of the look."""
        load = self._of(tier)
        if load.kv_used is None:
            return Missing()
        complete = load.engines >= self._expected.replicas(tier) > 0
        return Sample(load.kv_used, age_s=self._taken_ago_s, complete=complete)

    def _asked(self, metric: ScalingMetric, value: float) -> Target:
        answer = self._answers.get(metric.query or "", Answer(problem="not asked yet"))
        if answer.value is None:
            return Target(metric.name, "PromQL", value, Missing(), answer.problem)
        return Target(metric.name, "PromQL", value, Sample(answer.value, self._taken_ago_s, complete=True))

    def _fresh(self, tier: Name) -> bool:
        sample = self._sample(tier, 0.0)
        return sample.complete and 0 <= sample.age_s <= STALE_AFTER_S

    def _sample(self, tier: Name, value: float) -> Sample:
        load, expected = self._of(tier), self._expected.routers(tier)
        age_s = math.inf if load.age_s is None else load.age_s + self._taken_ago_s
        return Sample(value, age_s=age_s, complete=load.routers >= expected > 0)

    def _of(self, tier: Name) -> TierLoad:
        return self._load.tiers.get(tier, TierLoad())


def target_value(metric: ScalingMetric) -> float | None:
    """Seconds for a latency, a share for KVCache, else an amount per replica.

    None for what only a CRD without our rules lets in.
    """
    try:
        if metric.type in _LATENCIES:
            value = seconds(str(metric.target))
        else:
            value = float(metric.target) / (_PERCENT if metric.type == "KVCache" else 1)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def queue_target(tier: ModelTier | None) -> float:
    """Waiting requests per replica above which the tier is saturated."""
    scaling = tier.spec.scaling if tier else None
    metrics = scaling.metrics if scaling else []
    return next(
        (target_value(metric) or QUEUE_TARGET for metric in metrics if metric.type == "Queue"), QUEUE_TARGET
    )
