"""A cascade under load: arrivals, engines, pods, scrapes and the planner's looks, in order of time.

Deterministic under its seed.  What decides is not here: the router's choices come from `route/`, the planner is
any `Policy`.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from random import Random

from modelfleet.route import choose
from modelfleet.route.law import Law
from modelfleet.sim.entries import side
from modelfleet.sim.fleet import Arrival, Cascade, Conditions, Question
from modelfleet.sim.policy import Orders, Policy, Prompt, Published, Seen
from modelfleet.sim.pool import Pool
from modelfleet.sim.replica import Job, Replica
from modelfleet.sim.sight import Sight, in_flight
from modelfleet.sim.tally import Tally

_FAST_S = 1.0  # between two moves of the router


class Ask:
    """One request on its way through the cascade."""

    __slots__ = ("arrival", "escalations", "question", "sent_s", "settles", "spent", "tier")

    def __init__(self, arrival: Arrival, question: Question | None) -> None:
        self.arrival = arrival
        self.question = question
        self.tier = 0
        self.escalations = 0
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
        prompt: Prompt | None = None,
    ) -> None:
        """`prompt`: the policy, where it need not be waited for until its next look."""
        self.cascade = cascade
        self.conditions = conditions or Conditions()
        self.policy, self._prompt = policy, prompt
        self.random = Random(seed)
        self.now_s = 0.0
        self.tally = Tally(cascade)
        self._arrivals: Iterator[Arrival] = iter(arrivals)
        self._due: list[tuple[float, int, Replica]] = []
        self._order = count()
        self._thresholds = list(cascade.thresholds) or [None] * len(cascade.tiers)
        self._enter(entry or (1.0, *(0.0 for _ in cascade.tiers[1:])))
        self._pools = [self._pool(index) for index in range(len(cascade.tiers))]
        self._sight = Sight(self._pools, self.conditions)
        self._meters = self._sight.meters
        self._entered = 0
        self._published: Published | None = None
        self.law = Law()
        self._began = [0 for _ in cascade.tiers]  # requests that entered there
        self._seen: Seen | None = None
        self._refused = 0  # until the look before
        self._ready = [len(pool.ready) for pool in self._pools]

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
                self._hold()
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
        self._sight.whole.slot.arrivals += 1
        index = choose.entry(self._bounds, self.random.random())
        self._began[index] += 1
        self._send(ask, index)

    def _send(self, ask: Ask, index: int) -> None:
        if not self._pools[index].ready:
            index = self._stand_in(index)
        arrival, tier = ask.arrival, self.cascade.tiers[index]
        ask.tier, ask.sent_s = index, self.now_s
        ask.settles = self._settles(ask, index)
        whole = ask.settles or self.cascade.judges_only
        output = arrival.output if whole else min(arrival.output, self.cascade.judged_tokens)
        self._sight.came(index, self.now_s)
        if tier.external:
            self._call(ask, index, output)
            return
        job = Job(prompt=arrival.prompt, cached=arrival.cached, output=output, owner=ask)
        left_s = arrival.at_s + self.cascade.deadline_s
        if self._pools[index].take(job, self.now_s, deadline_s=left_s) is not None:
            self.tally.refused(ask, self.now_s)

    def _stand_in(self, index: int) -> int:
        """Who takes the requests of a tier without replicas: the next one that has some, or around."""
        if self._takes(index):
            return index
        others = (*range(index + 1, len(self._pools)), *range(index))
        return next((other for other in others if self._takes(other)), index)

    def _takes(self, index: int) -> bool:
        pool = self._pools[index]
        return pool.tier.external or bool(pool.ready) or pool.sleeps

    def _settles(self, ask: Ask, index: int) -> bool:
        """Whether the tier's answer will be sent."""
        threshold = self._thresholds[index]
        if threshold is None or ask.question is None or index == len(self._pools) - 1:
            return True
        return ask.question.scores[index] >= threshold or ask.escalations >= self.cascade.escalations_max

    def _judged(self, ask: Ask, index: int) -> bool:
        """Counts a verdict, where there is one; gives whether the answer is sent."""
        if self._thresholds[index] is not None and ask.question is not None:
            self._meters[index].judged(ask.question.scores[index], escalated=not ask.settles)
        return ask.settles or self.cascade.judges_only

    def _call(self, ask: Ask, index: int, output: int) -> None:
        """An external API: as fast as its profile with an empty batch, and without end."""
        engine, usd = self.cascade.tiers[index].engine, self.cascade.tiers[index].usd_per_million_tokens
        prompt = ask.arrival.prompt
        ttft_s = engine.first_token_s + engine.mixed_step_s(1, prompt, prompt)
        itl_s = engine.decode_step_s(1, prompt)
        ask.spent += (prompt * usd[0] + output * usd[1]) / 1e6
        if self._judged(ask, index):
            lasted_s = ttft_s + itl_s * output
            self._answer(ask, index, ttft_s=ttft_s, itl_s=itl_s, now_s=self.now_s, lasted_s=lasted_s)
        else:
            self._give_up(ask, index)

    def _done(self, index: int, job: Job, now_s: float) -> None:
        ask: Ask = job.owner  # type: ignore[assignment]
        itl_s = (now_s - job.first_s) / max(1, job.output - 1)
        lasted_s = now_s - job.arrived_s
        self._pools[index].freed(lasted_s, self.now_s)
        ttft_s = job.first_s - ask.sent_s
        if self._judged(ask, index):
            self._answer(ask, index, ttft_s=ttft_s, itl_s=itl_s, now_s=now_s, lasted_s=lasted_s)
        else:
            self._meters[index].answered(
                prompt=job.prompt,
                cached=ask.arrival.cached,
                output=job.output,
                ttft_s=ttft_s,
                itl_s=itl_s,
                good=True,
                lasted_s=lasted_s,
            )
            self._give_up(ask, index)

    def _give_up(self, ask: Ask, index: int) -> None:
        """The answer was not good enough: the next tier is asked."""
        self.tally.escalated[index] += 1
        ask.escalations += 1
        self._send(ask, index + 1)

    def _answer(
        self, ask: Ask, index: int, *, ttft_s: float, itl_s: float, now_s: float, lasted_s: float
    ) -> None:
        arrival, cascade = ask.arrival, self.cascade
        before_s = ask.sent_s - arrival.at_s  # at the tiers before
        held_s = 0.0
        if self._thresholds[index] is not None and index < len(cascade.tiers) - 1:
            held_s = (min(cascade.judged_tokens, arrival.output) - 1) * itl_s
        seen_s = before_s + ttft_s + held_s
        good = seen_s <= cascade.slo.ttft_s and itl_s <= cascade.slo.itl_s
        first_s = ttft_s
        for meter in (self._meters[index], self._sight.whole):
            meter.answered(
                prompt=arrival.prompt,
                cached=arrival.cached,
                output=arrival.output,
                ttft_s=first_s,
                itl_s=itl_s,
                good=good,
                lasted_s=lasted_s,
            )
            first_s = seen_s  # its clients waited for the tiers before, too
        self.tally.answered(ask, index, ttft_s=seen_s, itl_s=itl_s, good=good, now_s=now_s)

    # Measuring and deciding.

    def _scrape(self) -> None:
        for pool in self._pools:
            pool.advance(self.now_s)
        self._sight.scraped(self.now_s)
        self.tally.scraped(self.now_s, self._pools, self.entry)
        ready = [len(pool.ready) for pool in self._pools]
        if ready != self._ready:
            self._ready = ready
            self._hurry(())

    def _hold(self) -> None:
        """New replicas get warm; what waits at tiers that run nothing does so for too long, or for who wakes them."""
        for pool in self._pools:
            pool.ramp(self.now_s)
            for job in pool.left(self.now_s, deadline_s=self.cascade.deadline_s):
                self.tally.refused(job.owner, self.now_s)  # type: ignore[arg-type]
        wanted = [pool.tier.name for pool in self._pools if pool.sleeps and pool.line and not pool.wanted]
        if wanted:
            self._hurry(wanted)

    def _hurry(self, wanted: Collection[str]) -> None:
        if self._prompt is not None:
            seen = Seen(self.now_s, self.cascade, self._sight.tiers(self.now_s), 0, whole=self._sight.whole)
            self._obey(self._prompt.at_once(seen, wanted=wanted))

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
                in_flight=in_flight(pool),
                ready=len(pool.ready),
            )
            for index, pool in enumerate(self._pools)
        ]
        self._enter(self.law.second(sides, target=told.target, seconds=_FAST_S))

    def _look(self) -> None:
        lost = self.random.random() < self.conditions.scrape_loss
        lost |= self.conditions.blind_from_s <= self.now_s < self.conditions.blind_until_s
        if lost and self._seen is None:
            return
        if not lost or self._seen is None:
            refused, self._refused = self.tally.refusals - self._refused, self.tally.refusals
            self._seen = Seen(
                self.now_s,
                self.cascade,
                self._sight.tiers(self.now_s),
                self._entered,
                whole=self._sight.whole,
                refused=refused,
                answered=self.tally.answered_lately(self.now_s),
            )
            self._entered = 0
            seen = self._seen
        else:
            seen = Seen(self.now_s, self.cascade, self._seen.tiers, 0, lost=True)
        self._obey(self.policy.decide(seen))

    def _obey(self, orders: Orders) -> None:
        for pool in self._pools:
            wanted = orders.replicas.get(pool.tier.name)
            if wanted is not None and not pool.tier.external:
                self.tally.courses[pool.tier.name].ordered(pool.wanted, wanted, self.now_s)
                pool.scale(wanted, self.now_s)
        if orders.entry is not None:
            self._enter(orders.entry)
            self._published = None
        self._published = orders.published or self._published
        if orders.thresholds is not None:
            self._thresholds = list(orders.thresholds)
