"""What came out of a run: attainment, cost, latency, quality, and how restless the fleet was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from modelfleet.sim.fleet import Arrival, Cascade
from modelfleet.sim.pool import Pool

if TYPE_CHECKING:
    from modelfleet.sim.world import Ask

# Latency is counted in buckets one percent apart: flat memory, and quantiles within one percent.
_BUCKET = math.log(1.01)
_LATENCY_S_MIN = 1e-4
_HOUR_S = 3600.0
_SLICE_S = 60.0  # of the course over time
_POOR = 0.95
_OPEN_SLICES = 10  # that may still get answers


def worst_hour(minutes: Sequence[tuple[float, float]], *, busy: float = 0.0) -> float:
    """The least part of any rolling hour.  `minutes`: the part's answers and all, by minute; 1 where there are none.

    `busy`: times the answers of a mean hour that one must have to count.
    """
    hour = round(_HOUR_S / _SLICE_S)
    parts = list(accumulate((part for part, _ in minutes), initial=0.0))
    totals = list(accumulate((total for _, total in minutes), initial=0.0))
    ends = range(min(hour, len(minutes)), len(minutes) + 1)
    spans = [
        (parts[end] - parts[max(0, end - hour)], totals[end] - totals[max(0, end - hour)]) for end in ends
    ]
    least = busy * totals[-1] * min(1.0, hour / max(1, len(minutes)))
    return min((part / total for part, total in spans if total > 0 and total >= least), default=1.0)


class Latencies:
    """A histogram of seconds in one percent steps."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float) -> None:
        at = int(math.log(max(seconds, _LATENCY_S_MIN)) / _BUCKET)
        self._counts[at] = self._counts.get(at, 0) + 1
        self.count += 1

    def quantile_s(self, quantile: float) -> float | None:
        """None where nothing was counted."""
        rank, seen = quantile * self.count, 0
        for at in sorted(self._counts):
            seen += self._counts[at]
            if seen >= rank:
                return math.exp((at + 0.5) * _BUCKET)
        return None


@dataclass
class Slice:
    """One minute, for plots and for minutes of poor attainment."""

    at_s: float
    arrived: int = 0
    good: int = 0
    bad: int = 0
    usd: float = 0.0  # spent in it
    ttft_p95_s: float | None = None  # of what arrived in it; None: nothing was answered
    replicas: tuple[int, ...] = ()
    ready: tuple[int, ...] = ()
    entry: tuple[float, ...] = ()


@dataclass
class Course:
    """Replica changes of one tier."""

    changes: int = 0
    flips: int = 0  # a change against the direction of the one before
    direction: int = 0
    downs_at_s: list[float] = field(default_factory=list)

    def ordered(self, before: int, wanted: int, now_s: float) -> None:
        """A policy asks for `wanted` after `before`."""
        if wanted == before:
            return
        direction = 1 if wanted > before else -1
        self.changes += 1
        self.flips += self.direction == -direction
        self.direction = direction
        if direction < 0:
            self.downs_at_s.append(now_s)


class Tally:
    """Counts as the world runs."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.arrivals = 0
        self.good = 0
        self.refusals = 0
        self.answers = [0 for _ in cascade.tiers]
        self.escalated = [0 for _ in cascade.tiers]
        self.right = 0
        self.usd_external = 0.0
        self.ttft = Latencies()
        self.itl = Latencies()
        self.courses = {tier.name: Course() for tier in cascade.tiers}
        self.slices: list[Slice] = []
        self.gpu_h = 0.0
        self.usd = 0.0
        self.replica_h: dict[str, float] = {}
        self.seconds = 0.0
        self._scraped_s = 0.0
        self._firsts: dict[int, Latencies] = {}  # by minute of arrival, of the last few
        self._hours: dict[int, list[int]] = {}  # answers by tier in each minute, for the worst rolling hour

    def arrived(self, arrival: Arrival) -> None:
        self.arrivals += 1
        self._slice(arrival.at_s).arrived += 1

    def refused(self, ask: "Ask", now_s: float) -> None:  # noqa: ARG002  a refusal belongs to its arrival
        self.refusals += 1
        self._slice(ask.arrival.at_s).bad += 1

    def answered(
        self, ask: "Ask", index: int, *, ttft_s: float, itl_s: float, good: bool, now_s: float
    ) -> None:
        self.answers[index] += 1
        self.good += good
        self.usd_external += ask.spent
        self.ttft.add(ttft_s)
        if ask.arrival.output > 1:
            self.itl.add(itl_s)
        if ask.question is not None and ask.question.right:
            self.right += ask.question.right[index]
        one = self._slice(ask.arrival.at_s)
        one.usd += ask.spent
        minute = int(ask.arrival.at_s / _SLICE_S)
        if minute not in self._firsts:
            self._firsts[minute] = Latencies()
            self._conclude(minute - _OPEN_SLICES)
        self._firsts[minute].add(ttft_s)
        if good:
            one.good += 1
        else:
            one.bad += 1
        by_tier = self._hours.setdefault(int(now_s / _SLICE_S), [0] * len(self.answers))
        by_tier[index] += 1

    def scraped(self, now_s: float, pools: Sequence[Pool], entry: tuple[float, ...]) -> None:
        one = self._slice(now_s)
        rates = (pool.tier.usd_per_replica_hour * pool.pods for pool in pools if not pool.tier.external)
        one.usd += sum(rates) * (now_s - self._scraped_s) / _HOUR_S
        self._scraped_s = now_s
        one.replicas = tuple(len(p.ready) + len(p.starting) + len(p.draining) for p in pools)
        one.ready = tuple(len(p.ready) for p in pools)
        one.entry = entry

    def close(self, until_s: float, pools: Sequence[Pool]) -> None:
        self.seconds = until_s
        self._conclude(len(self.slices))
        for pool in pools:
            hours = 0.0 if pool.tier.external else pool.replica_s / _HOUR_S
            self.replica_h[pool.tier.name] = hours
            self.gpu_h += hours * pool.tier.gpus
            self.usd += hours * pool.tier.usd_per_replica_hour
        self.usd += self.usd_external

    def _conclude(self, until_minute: int) -> None:
        """Nobody who came before then is answered any more, or so few that it changes nothing."""
        for minute in [minute for minute in self._firsts if minute < until_minute]:
            self.slices[minute].ttft_p95_s = self._firsts.pop(minute).quantile_s(0.95)

    @property
    def attainment(self) -> float:
        """Part of the arrivals served within the objectives; what is refused or never ends is not."""
        return self.good / self.arrivals if self.arrivals else 1.0

    @property
    def ended_s(self) -> float:
        """When the last request came, within a minute; 0: none did."""
        return max((one.at_s + _SLICE_S for one in self.slices if one.arrived), default=0.0)

    @property
    def quality(self) -> float | None:
        """Part of the answers that are right; None where the questions' answers are not known."""
        answers = sum(self.answers)
        known = self.cascade.questions and self.cascade.questions[0].right
        return self.right / answers if answers and known else None

    def answered_lately(self, now_s: float) -> list[int]:
        """By tier, of the last hour."""
        last = int(now_s / _SLICE_S)
        minutes = range(last - round(_HOUR_S / _SLICE_S) + 1, last + 1)
        counted = [self._hours[minute] for minute in minutes if minute in self._hours]
        return [sum(column) for column in zip(*counted, strict=True)] or [0] * len(self.answers)

    @property
    def share_last(self) -> float:
        """Part of the answers that the last tier gave."""
        return self.answers[-1] / max(1, sum(self.answers))

    def share_last_worst_hour(self) -> float:
        """The least part of any rolling hour with answers."""
        minutes = range(max(self._hours, default=0) + 1)
        answers = [self._hours.get(minute, [0]) for minute in minutes]
        return worst_hour([(by_tier[-1], sum(by_tier)) for by_tier in answers])

    @property
    def flips_per_day(self) -> float:
        return sum(course.flips for course in self.courses.values()) * 24 * _HOUR_S / max(1.0, self.seconds)

    @property
    def poor_minutes(self) -> int:
        """Minutes of which less than 95 % of the requests were served within the objectives."""
        return sum(1 for one in self.slices if one.arrived and one.good < _POOR * one.arrived)

    def _slice(self, at_s: float) -> Slice:
        index = int(at_s / _SLICE_S)
        while len(self.slices) <= index:
            self.slices.append(Slice(len(self.slices) * _SLICE_S))
        return self.slices[index]
