"""What part of the requests keeps the objectives at a steady load, as the request level shows it: the fluid's missing spread.

A mean says nothing about a short answer beside a long prompt.  So a few replicas are run at request level over one load
after another, and the fluid reads off what came out of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from modelfleet.plan import sizing
from modelfleet.plan.engine import Engine
from modelfleet.plan.sizing import Lengths, Objectives
from modelfleet.sim.fleet import Arrival, Slo
from modelfleet.sim.meter import ITL_BOUNDS_S
from modelfleet.sim.replica import Job, Replica

_LOADS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)  # of saturation
_REPLICAS = 4
_REQUESTS = 10_000  # at each load, behind as many seconds as a request lasts
_STEPS = 400  # of the finer table


@dataclass(frozen=True, slots=True)
class Tail:
    """By rate of one replica, in equal steps of `step_rps`.  `itl`: parts of the answers in each bucket, like `good`."""

    step_rps: float
    good: Sequence[float]
    itl: Sequence[Sequence[tuple[int, float]]]

    def index(self, rate_rps: float) -> int:
        return min(len(self.good) - 1, int(rate_rps / self.step_rps))

    def rate_rps(self, good: float) -> float:
        """The largest rate of one replica up to which so many keep their objectives; what a load test finds.

        A quarter of saturation at least: who misses even there does not mend it with replicas.
        """
        within = next((at for at, part in enumerate(self.good) if part < good), len(self.good))
        return max(len(self.good) // 4, within) * self.step_rps


def measure(engine: Engine, requests: Sequence[Arrival], slo: Slo, *, seed: int = 0) -> Tail:
    """`requests`: whose lengths are drawn; arrivals are Poisson, replicas are chosen as the router does."""
    number = len(requests)
    lengths = Lengths(
        sum(one.prompt for one in requests) / number,
        sum(one.output for one in requests) / number,
        sum(one.cached for one in requests) / number,
    )
    saturation_rps = sizing.capacity(engine, lengths, Objectives(1e9, 1e9)).rate_rps
    points = [_at(engine, requests, slo, load * saturation_rps, Random(seed)) for load in _LOADS]
    good = [1.0, *(one for one, _ in points), 0.0]
    itl = [points[0][1], *(one for _, one in points), points[-1][1]]
    loads = (0.0, *_LOADS, 1.0)
    fine = [_between(loads, at / _STEPS) for at in range(_STEPS)]
    # More load serves nobody better; what a short run says otherwise is chance.
    falling = [1.0]
    for at, part in fine:
        falling.append(min(falling[-1], good[at] + part * (good[at + 1] - good[at])))
    mixed = [_mixed(itl[at], itl[at + 1], part) for at, part in fine]
    return Tail(saturation_rps / _STEPS, falling[1:], mixed)


def _at(
    engine: Engine, requests: Sequence[Arrival], slo: Slo, rate_rps: float, random: Random
) -> tuple[float, Sequence[float]]:
    """Part of the answers within the objectives, and parts by bucket of the time between tokens."""
    answers = good = 0
    buckets = [0] * (len(ITL_BOUNDS_S) + 1)
    ends: list[tuple[Job, float]] = []

    def done(job: Job, at_s: float) -> None:
        ends.append((job, at_s))

    replicas = [Replica(engine, on_first=lambda _job, _at_s: None, on_done=done) for _ in range(_REPLICAS)]
    at_s, settled = 0.0, _REQUESTS // 5
    for number in range(settled + _REQUESTS):
        at_s += random.expovariate(rate_rps * _REPLICAS)
        for replica in replicas:
            while replica.due_s <= at_s:
                replica.step()
        one = random.choice(requests)
        chosen = min(replicas, key=lambda replica: (replica.in_flight, random.random()))
        chosen.add(Job(prompt=one.prompt, cached=one.cached, output=one.output), at_s)
        if number == settled:
            ends.clear()
    for job, end_s in ends:
        itl_s = (end_s - job.first_s) / max(1, job.output - 1)
        answers += 1
        good += job.first_s - job.arrived_s <= slo.ttft_s and itl_s <= slo.itl_s
        if job.output > 1:
            buckets[_bucket(itl_s)] += 1
    total = max(1, sum(buckets))
    return good / max(1, answers), [count / total for count in buckets]


def _bucket(itl_s: float) -> int:
    return next((at for at, bound in enumerate(ITL_BOUNDS_S) if itl_s <= bound), len(ITL_BOUNDS_S))


def _between(loads: Sequence[float], load: float) -> tuple[int, float]:
    at = max(index for index, one in enumerate(loads[:-1]) if one <= load)
    return at, (load - loads[at]) / (loads[at + 1] - loads[at])


def _mixed(low: Sequence[float], high: Sequence[float], part: float) -> Sequence[tuple[int, float]]:
    both = ((at, a + part * (b - a)) for at, (a, b) in enumerate(zip(low, high, strict=True)))
    return [(at, share) for at, share in both if share > 0]
