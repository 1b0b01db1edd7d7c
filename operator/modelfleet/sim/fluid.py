"""The same fleet as a fluid in steps of one second: what policies are tuned on, a hundred times as fast.

Requests are amounts.  A replica's step time follows the rate that it serves (`plan/sizing.py`), what it cannot serve
waits, and how many of a second's requests meet their objectives is read off `sim/tail.py` where it is given: without
it they do together or not at all.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from modelfleet.plan import sizing
from modelfleet.plan.sizing import Lengths, Objectives
from modelfleet.route.law import Law
from modelfleet.sim.entries import side as law_side
from modelfleet.sim.fleet import Cascade, Conditions, Slo, Tier
from modelfleet.sim.meter import ITL_BOUNDS_S, TTFT_BOUNDS_S, Meter, Peaks
from modelfleet.sim.policy import Policy, Published, Seen, TierSeen
from modelfleet.sim.tail import Tail
from modelfleet.sim.tally import Course, worst_hour

_WIDE = Objectives(ttft_s=1e9, itl_s=1e9)
_HOUR_S = 3600
_BUSY = 0.1  # of a mean hour: with fewer requests a share says little


class _Side:
    """One tier.  What its engine and lengths say is worked out once: a day is 86,400 steps."""

    def __init__(
        self, tier: Tier, lengths: Lengths, meter: Meter, tail: Tail | None, *, step_factor: float
    ) -> None:
        engine = tier.engine
        self.tail = tail
        self.tier, self.lengths, self.meter = tier, lengths, meter
        self.wanted = self.ready = tier.replicas_start
        self.starting: deque[float] = deque()  # when each is ready
        self.waiting = 0.0
        self.served_rps = 0.0  # smoothed over an answer
        self.replica_s = 0.0
        self.base_s = engine.step_s * step_factor
        self.work_s = sizing.work_s(engine, lengths) * step_factor
        self.saturation_rps = sizing.capacity(engine, lengths, _WIDE).rate_rps / step_factor
        prompt_s = engine.step_s_per_prompt_token * step_factor * (lengths.prompt - lengths.cached)
        self.first_s = engine.first_token_s + prompt_s
        self.step_s = self.base_s
        self.peaks = Peaks(meter.scrape_s)

    def scraped(self) -> None:
        self.meter.turn()
        self.peaks.scraped({self: (self.kv_share, self.queue)})  # its replicas are all alike

    @property
    def queue(self) -> float:
        """By replica."""
        return self.waiting / max(1, self.ready)

    @property
    def kv_share(self) -> float:
        context = self.lengths.prompt + self.lengths.output / 2
        running = self.in_flight - self.waiting
        return min(1.0, running * context / max(1, self.ready) / self.tier.engine.kv_tokens)

    @property
    def in_flight(self) -> float:
        return self.served_rps * self.lengths.output * self.step_s + self.waiting

    def serve(self, came: float, slo: Slo) -> float:
        """One second; gives how much of it was served within the objectives."""
        most = self.ready * self.saturation_rps
        served = min(self.waiting + came, most)
        self.waiting += came - served
        self.served_rps += (served - self.served_rps) / max(1.0, self.lengths.output * self.step_s)
        rate = min(self.served_rps / (self.ready or 1), 0.999 * self.saturation_rps)
        self.step_s = step_s = self.base_s / (1 - rate * self.work_s)
        ttft_s = self.first_s + 1.5 * step_s + self.waiting / (most or 1e-9)
        slot = self.meter.slot
        if self.tail is None:
            good = served if ttft_s <= slo.ttft_s and step_s <= slo.itl_s else 0.0
            slot.itl[bisect_left(ITL_BOUNDS_S, step_s)] += served
        else:
            at = self.tail.index(rate)
            good = served * self.tail.good[at] if ttft_s <= slo.ttft_s else 0.0
            for bucket, part in self.tail.itl[at]:
                slot.itl[bucket] += served * part
        slot.arrivals += came
        slot.answers += served
        slot.good += good
        slot.prompt_tokens += served * self.lengths.prompt
        slot.cached_tokens += served * self.lengths.cached
        slot.output_tokens += served * self.lengths.output
        slot.ttft[bisect_left(TTFT_BOUNDS_S, ttft_s)] += served
        slot.itl_sum_s += served * step_s
        return good


@dataclass(frozen=True, slots=True)
class FluidOutcome:
    """As `Tally`, what came out."""

    attainment: float
    gpu_h: float
    flips_per_day: float
    changes: int
    share_last: float
    share_last_worst_hour: float
    share_last_worst_busy_hour: float  # of those with a tenth of a mean hour's requests and more
    lost_downs: int  # replicas taken away on a look that found nothing


class Fluid:
    """Runs one policy over arrivals per second; lengths are means, and stay.

    `tails`: by tier, of engines that are as slow as `conditions` says.
    """

    def __init__(
        self,
        cascade: Cascade,
        lengths: Lengths,
        policy: Policy,
        *,
        conditions: Conditions | None = None,
        seed: int = 0,
        tails: Mapping[str, Tail] | None = None,
    ) -> None:
        self.cascade, self.policy = cascade, policy
        self.conditions = conditions or Conditions()
        self._random = Random(seed)
        self._sides = [self._side(tier, lengths, (tails or {}).get(tier.name)) for tier in cascade.tiers]
        self._courses = {tier.name: Course() for tier in cascade.tiers}
        floor = cascade.share_floor
        self._entry = (
            [1 - floor, *(0.0 for _ in cascade.tiers[2:]), floor] if len(cascade.tiers) > 1 else [1.0]
        )
        self.law = Law()
        self._published: Published | None = None
        self._began = [0.0 for _ in cascade.tiers]  # requests that entered there
        self._good = self._total = self._entered = 0.0
        self._lost_downs = 0
        self._hours: list[tuple[float, float]] = []  # answers of the last tier and of all, by minute

    def _side(self, tier: Tier, lengths: Lengths, tail: Tail | None) -> _Side:
        if tier.external:
            raise ValueError(f"tier {tier.name} is an external API, which the fluid does not know")
        meter = Meter(self.conditions.scrape_s)
        return _Side(tier, lengths, meter, tail, step_factor=self.conditions.step_factor)

    def run(self, per_second: Sequence[float]) -> FluidOutcome:
        """`per_second`: requests that arrive in each second."""
        scrape, look = round(self.conditions.scrape_s), round(self.policy.look_s or self.conditions.look_s)
        for second, came in enumerate(per_second):
            self._second(second, came)
            if second % scrape == scrape - 1:
                for side in self._sides:
                    side.scraped()
            if second % look == look - 1:
                self._look(second + 1.0)
        days = max(1e-9, len(per_second) / 86400)
        return FluidOutcome(
            attainment=self._good / max(1e-9, self._total),
            gpu_h=sum(side.replica_s * side.tier.gpus for side in self._sides) / _HOUR_S,
            flips_per_day=sum(course.flips for course in self._courses.values()) / days,
            changes=sum(course.changes for course in self._courses.values()),
            share_last=sum(dear for dear, _ in self._hours)
            / max(1e-9, sum(total for _, total in self._hours)),
            share_last_worst_hour=worst_hour(self._hours),
            share_last_worst_busy_hour=worst_hour(self._hours, busy=_BUSY),
            lost_downs=self._lost_downs,
        )

    def _second(self, second: int, came: float) -> None:
        self._entered += came
        if second % 60 == 0:
            self._hours.append((0.0, 0.0))
        self._total += came
        slo = self.cascade.slo
        for side, part in zip(self._sides, self._entry, strict=True):
            while side.starting and side.starting[0] <= second:
                side.starting.popleft()
                side.ready += 1
            side.replica_s += side.ready + len(side.starting)
            self._good += side.serve(came * part, slo)
        dear, total = self._hours[-1]
        self._hours[-1] = (dear + came * self._entry[-1], total + came)
        for at, part in enumerate(self._entry):
            self._began[at] += came * part
        if self._published is not None:
            self._spend(self._published)  # for the next second

    def _spend(self, told: Published) -> None:
        """What enters is taken for answered: the fluid has no single requests."""
        sides = [
            law_side(
                side.tier,
                told,
                index,
                entered=self._began[index],
                answered=self._began[index],
                in_flight=side.in_flight,
                ready=side.ready,
            )
            for index, side in enumerate(self._sides)
        ]
        self._entry = self.law.second(sides, target=told.target)

    def _look(self, now_s: float) -> None:
        lost = self._random.random() < self.conditions.scrape_loss
        seen = Seen(
            now_s, self.cascade, [self._seen(side) for side in self._sides], round(self._entered), lost=lost
        )
        self._entered = self._entered if lost else 0.0
        orders = self.policy.decide(seen)
        for side in self._sides:
            wanted = orders.replicas.get(side.tier.name, side.wanted)
            self._lost_downs += max(0, side.wanted - wanted) if lost else 0
            self._courses[side.tier.name].ordered(side.wanted, wanted, now_s)
            self._scale(side, wanted, now_s)
        if orders.entry is not None:
            self._entry = list(orders.entry)
        self._published = orders.published or self._published

    def _scale(self, side: _Side, wanted: int, now_s: float) -> None:
        side.wanted = wanted
        cold_s = side.tier.cold.median_s * self.conditions.cold_start_factor
        while side.ready + len(side.starting) < wanted:
            side.starting.append(now_s + cold_s * math.exp(self._random.gauss(0.0, side.tier.cold.spread)))
        side.starting = deque(sorted(side.starting))
        while side.ready + len(side.starting) > wanted:
            if side.starting:
                side.starting.pop()
            else:
                side.ready -= 1

    def _seen(self, side: _Side) -> TierSeen:
        replicas = max(1, side.ready)
        running = side.in_flight - side.waiting
        kv_peak, queue_peak = side.peaks.of(side)
        return TierSeen(
            tier=side.tier,
            wanted=side.wanted,
            ready=side.ready,
            starting=len(side.starting),
            in_flight=round(side.in_flight),
            running=round(running),
            engine_queue=round(side.waiting),
            router_queue=0,
            kv_mean=side.kv_share,
            kv=[side.kv_share] * side.ready,
            queues=[round(side.queue)] * side.ready,
            runnings=[round(running / replicas)] * side.ready,
            kv_peaks=[kv_peak] * side.ready,
            queue_peaks=[queue_peak] * side.ready,
            cold_starts_s=[side.tier.cold.median_s * self.conditions.cold_start_factor],
            meter=side.meter,
            lag_s=self.conditions.lag_s,
        )
