"""A cascade under load: arrivals, engines, pods, scrapes and the planner's looks, in order of time.

Deterministic under its seed.  What decides is not here: the router's choices come from `route/`, the planner is
any `Policy`.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from random import Random

from modelfleet.route import choose
from modelfleet.route.law import Law
from modelfleet.sim.entries import side
from modelfleet.sim.fleet import Arrival, Cascade, Conditions, Question
from modelfleet.sim.meter import Meter, Peaks
from modelfleet.sim.policy import Policy, Published, Seen, TierSeen
from modelfleet.sim.pool import Pool
from modelfleet.sim.replica import Job, Replica
from modelfleet.sim.tally import Tally

_FAST_S = 1.0  # between two moves of the router


class Ask:
    """One request on its way through the cascade."""

    __slots__ = ("arrival", "question", "sent_s", "settles", "spent", "tier")

    def __init__(self, arrival: Arrival, question: Question | None) -> None:
        self.arrival = arrival
        self.question = question
        self.tier = 0
        self.sent_s = 0.0  # to the present tier
        self.settles = True  # the present tier's answer will be sent
        self.spent = 0.0  # US dollars at external tiers


class World:
    """Runs once."""

    def __init__(
        self,
        cascade: Cascade,
        arrivals: Iterable[Arrival],
        policy: Policy,
        *,
        conditions: Conditions | None = None,
        seed: int = 0,
        entry: tuple[float, ...] | None = None,
    ) -> None:
        self.cascade = cascade
        self.conditions = conditions or Conditions()
        self.policy = policy
        self.random = Random(seed)
        self.now_s = 0.0
        self.tally = Tally(cascade)
        self._arrivals: Iterator[Arrival] = iter(arrivals)
        self._due: list[tuple[float, int, Replica]] = []
        self._order = count()
        self._thresholds = list(cascade.thresholds) or [None] * len(cascade.tiers)
        self._enter(entry or (1.0, *(0.0 for _ in cascade.tiers[1:])))
        self._meters = [Meter(self.conditions.scrape_s) for _ in cascade.tiers]
        self._pools = [self._pool(index) for index in range(len(cascade.tiers))]
        self._entered = 0
        self._published: Published | None = None
        self.law = Law()
        self._began = [0 for _ in cascade.tiers]  # requests that entered there
        self._seen: Seen | None = None
        self._shown: deque[tuple[float, list[dict[str, object]]]] = deque()  # gauges of past scrapes
        self._peaks = [Peaks(self.conditions.scrape_s) for _ in cascade.tiers]

    def _pool(self, index: int) -> Pool:
        def done(job: Job, now_s: float) -> None:
            self._done(index, job, now_s)

        return Pool(
            self.cascade.tiers[index],
            self.conditions,
            Random(self.random.random()),
            judged=self._thresholds[index] is not None,
            on_first=lambda _job, _now_s: None,
            on_done=done,
            wake=self._wake,
        )

    def run(self, until_s: float) -> Tally:
        """Simulate until then; what arrives later is not looked at."""
        conditions = self.conditions
        scrape_s, look_s, fast_s = conditions.scrape_s, self.policy.look_s or conditions.look_s, _FAST_S
        arrival = next(self._arrivals, None)
        due = self._due
        while True:
            arrival_s = arrival.at_s if arrival is not None else math.inf
            step_s = due[0][0] if due else math.inf
            now_s = min(arrival_s, step_s, scrape_s, look_s, fast_s)
            if now_s > until_s:
                break
            self.now_s = now_s
            if step_s == now_s:
                replica = heappop(due)[2]
                if replica.due_s == step_s:  # else it was cut short, and has another entry
                    replica.step()
                    self._wake(replica)
            elif arrival_s == now_s and arrival is not None:
                self._arrive(arrival)
                arrival = next(self._arrivals, None)
            elif scrape_s == now_s:
                self._scrape()
                scrape_s += conditions.scrape_s
            elif fast_s == now_s:
                self._spend()
                fast_s += _FAST_S
            else:
                self._look()
                look_s += self.policy.look_s or conditions.look_s
        for pool in self._pools:
            pool.advance(until_s)
        self.tally.close(until_s, self._pools)
        return self.tally

    # Requests.

    def _wake(self, replica: Replica) -> None:
        if replica.due_s < math.inf:
            heappush(self._due, (replica.due_s, next(self._order), replica))

    def _enter(self, shares: Iterable[float]) -> None:
        self.entry = tuple(shares)
        self._bounds = choose.bounds([round(share * 1_000_000) for share in self.entry])

    def _arrive(self, arrival: Arrival) -> None:
        questions = self.cascade.questions
        ask = Ask(arrival, questions[arrival.question % len(questions)] if questions else None)
        self._entered += 1
        self.tally.arrived(arrival)
        index = choose.entry(self._bounds, self.random.random())
        self._began[index] += 1
        self._send(ask, index)

    def _send(self, ask: Ask, index: int) -> None:
        arrival, tier = ask.arrival, self.cascade.tiers[index]
        ask.tier, ask.sent_s = index, self.now_s
        threshold = self._thresholds[index]
        last = index == len(self.cascade.tiers) - 1
        ask.settles = (
            last or threshold is None or ask.question is None or ask.question.scores[index] >= threshold
        )
        output = arrival.output if ask.settles else min(arrival.output, self.cascade.judged_tokens)
        self._meters[index].slot.arrivals += 1
        if tier.external:
            self._call(ask, index, output)
            return
        job = Job(prompt=arrival.prompt, cached=arrival.cached, output=output, owner=ask)
        left_s = arrival.at_s + self.cascade.deadline_s
        if self._pools[index].take(job, self.now_s, deadline_s=left_s) is not None:
            self.tally.refused(ask, self.now_s)

    def _call(self, ask: Ask, index: int, output: int) -> None:
        """An external API: as fast as its profile with an empty batch, and without end."""
        engine, usd = self.cascade.tiers[index].engine, self.cascade.tiers[index].usd_per_million_tokens
        prompt = ask.arrival.prompt
        ttft_s = engine.first_token_s + engine.mixed_step_s(1, prompt, prompt)
        itl_s = engine.decode_step_s(1, prompt)
        ask.spent += (prompt * usd[0] + output * usd[1]) / 1e6
        self._answer(ask, index, ttft_s=ttft_s, itl_s=itl_s, now_s=self.now_s)

    def _done(self, index: int, job: Job, now_s: float) -> None:
        ask: Ask = job.owner  # type: ignore[assignment]
        itl_s = (now_s - job.first_s) / max(1, job.output - 1)
        self._pools[index].freed(now_s - job.arrived_s, self.now_s)
        if ask.settles:
            self._answer(ask, index, ttft_s=job.first_s - ask.sent_s, itl_s=itl_s, now_s=now_s)
        else:
            self._meters[index].answered(
                prompt=job.prompt,
                cached=ask.arrival.cached,
                output=job.output,
                ttft_s=job.first_s - ask.sent_s,
                itl_s=itl_s,
                good=True,
            )
            self.tally.escalated[index] += 1
            self._send(ask, index + 1)

    def _answer(self, ask: Ask, index: int, *, ttft_s: float, itl_s: float, now_s: float) -> None:
        arrival, cascade = ask.arrival, self.cascade
        before_s = ask.sent_s - arrival.at_s  # at the tiers before
        held_s = 0.0
        if self._thresholds[index] is not None and index < len(cascade.tiers) - 1:
            held_s = (min(cascade.judged_tokens, arrival.output) - 1) * itl_s
        seen_s = before_s + ttft_s + held_s
        good = seen_s <= cascade.slo.ttft_s and itl_s <= cascade.slo.itl_s
        self._meters[index].answered(
            prompt=arrival.prompt,
            cached=arrival.cached,
            output=arrival.output,
            ttft_s=ttft_s,
            itl_s=itl_s,
            good=good,
        )
        self.tally.answered(ask, index, ttft_s=seen_s, itl_s=itl_s, good=good, now_s=now_s)

    # Measuring and deciding.

    def _scrape(self) -> None:
        for pool, meter in zip(self._pools, self._meters, strict=True):
            pool.advance(self.now_s)
            meter.turn()
        for peaks, pool in zip(self._peaks, self._pools, strict=True):
            peaks.scraped({one: (one.kv_share, float(len(one.waiting))) for one in pool.ready})
        self._shown.append((self.now_s, self._gauges()))
        while len(self._shown) > 1 and self._shown[1][0] <= self.now_s - self.conditions.lag_s:
            self._shown.popleft()
        self.tally.scraped(self.now_s, self._pools, self.entry)

    def _spend(self) -> None:
        """The router's own second, as it is in `route/law.py`: on its own counts, once something was published."""
        told = self._published
        if told is None:
            return
        sides = [
            side(
                pool.tier,
                told,
                index,
                entered=self._began[index],
                answered=self.tally.answers[index],
                in_flight=_in_flight(pool),
                ready=len(pool.ready),
            )
            for index, pool in enumerate(self._pools)
        ]
        self._enter(self.law.second(sides, target=told.target, seconds=_FAST_S))

    def _gauges(self) -> list[dict[str, object]]:
        return [_gauges(pool, peaks) for pool, peaks in zip(self._pools, self._peaks, strict=True)]

    def _look(self) -> None:
        lost = self.random.random() < self.conditions.scrape_loss
        if lost and self._seen is None:
            return
        if not lost or self._seen is None:
            gauges = self._shown[0][1] if self._shown else self._gauges()
            tiers = [
                TierSeen(
                    tier=pool.tier,
                    wanted=pool.wanted,
                    ready=len(pool.ready),
                    starting=len(pool.starting),
                    cold_starts_s=pool.cold_starts_s,
                    meter=meter,
                    lag_s=self.conditions.lag_s,
                    **gauge,  # type: ignore[arg-type]
                )
                for pool, meter, gauge in zip(self._pools, self._meters, gauges, strict=True)
            ]
            self._seen = Seen(self.now_s, self.cascade, tiers, self._entered)
            self._entered = 0
            seen = self._seen
        else:
            seen = Seen(self.now_s, self.cascade, self._seen.tiers, 0, lost=True)
        orders = self.policy.decide(seen)
        for pool in self._pools:
            wanted = orders.replicas.get(pool.tier.name)
            if wanted is not None and not pool.tier.external:
                self.tally.courses[pool.tier.name].ordered(pool.wanted, wanted, self.now_s)
                pool.scale(wanted, self.now_s)
        if orders.entry is not None:
            self._enter(orders.entry)
        self._published = orders.published or self._published
        if orders.thresholds is not None:
            self._thresholds = list(orders.thresholds)


def _gauges(pool: Pool, peaks: Peaks) -> dict[str, object]:
    """What engines and router show at a scrape."""
    queues = [len(replica.waiting) for replica in pool.ready]
    runnings = [replica.running for replica in pool.ready]
    kv = [replica.kv_share for replica in pool.ready]
    return {
        "in_flight": _in_flight(pool),
        "running": sum(runnings),
        "engine_queue": sum(queues),
        "router_queue": len(pool.line),
        "kv_mean": sum(kv) / len(kv) if kv else 0.0,
        "kv": kv,
        "queues": queues,
        "runnings": runnings,
        "kv_peaks": [peaks.of(replica)[0] for replica in pool.ready],
        "queue_peaks": [peaks.of(replica)[1] for replica in pool.ready],
    }


def _in_flight(pool: Pool) -> int:
    return sum(replica.in_flight for replica in pool.ready) + len(pool.line)
