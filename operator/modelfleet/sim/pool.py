"""The pods of one tier over time: starting, ready, draining, gone; and who gets the next request.

The choice of the replica and the rules of the line are the router's own (`route/`).
"""

import math
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random

from modelfleet.route import choose, waiting, warmup
from modelfleet.sim.fleet import Conditions, Tier
from modelfleet.sim.policy import PodSeen
from modelfleet.sim.replica import Job, Replica

_HOLD_GAIN = 0.02  # of the newest answer in the mean time that a place is held


class Pod:
    """A replica with a life of its own."""

    __slots__ = ("born_s", "gone_s", "number", "ready_s", "replica")

    def __init__(self, replica: Replica, *, number: int, born_s: float, ready_s: float) -> None:
        self.number = number
        self.replica = replica
        self.born_s = born_s
        self.ready_s = ready_s
        self.gone_s = math.inf  # when it was told to go


class Pool:
    """One tier.  `now_s` only grows.  `judged`: its answers are asked for log probabilities, which slow it down."""

    def __init__(
        self,
        tier: Tier,
        conditions: Conditions,
        random: Random,
        *,
        judged: bool = False,
        on_first: Callable[[Job, float], None],
        on_done: Callable[[Job, float], None],
        wake: Callable[[Replica], None],
    ) -> None:
        self.tier = tier
        self.wanted = tier.replicas_start
        self.line: deque[Job] = deque()
        self.ready: list[Replica] = []
        self.starting: list[Pod] = []
        self.draining: list[Pod] = []
        self.replica_s = 0.0  # paid for
        self.cold_starts_s: list[float] = []  # as they were seen; the last hundred
        self._engine = tier.engine.slowed(1.0 if judged else 0.0).times(conditions.step_factor)
        self._conditions = conditions
        self._random = random
        self._on_first, self._on_done, self._wake = on_first, on_done, wake
        self._pods: dict[Replica, Pod] = {}
        self._numbers = count()
        self._warmup: warmup.Warmup[Replica] = warmup.Warmup()
        self._turn = 0
        self._hold_s = 0.0
        self._billed_s = 0.0
        self._serve([self._pod(0.0, 0.0).replica for _ in range(tier.replicas_start)], 0.0)

    # What requests do.

    def take(self, job: Job, now_s: float, *, deadline_s: float) -> str | None:
        """Send it, or put it into the line; why not, else."""
        self._turn += 1
        replica = self._choose(self._turn)
        if replica is not None:
            replica.add(job, now_s)
            self._wake(replica)
            return None
        hold = self.tier.hold
        if hold is not None and not self.ready:
            if len(self.line) >= hold.most:
                return waiting.HOLD_FULL
            self.line.append(job)
            job.arrived_s = now_s
            return None
        room = self.tier.room * len(self.ready)
        why = waiting.barrier(
            ahead=len(self.line),
            full=len(self.line) >= max(16, 2 * room),
            room=room,
            hold_s=self._hold_s,
            left_s=deadline_s - now_s,
        )
        if why is None:
            self.line.append(job)
        return why

    @property
    def pods(self) -> int:
        """That are paid for."""
        return len(self.ready) + len(self.starting) + len(self.draining)

    @property
    def sleeps(self) -> bool:
        """Nothing runs, and requests may wait for the first replica."""
        return self.tier.hold is not None and not self.ready

    def left(self, now_s: float, *, deadline_s: float) -> list[Job]:
        """Who has waited for the first replica for too long: they leave the line."""
        gone: list[Job] = []
        if not self.sleeps or self.tier.hold is None:
            return gone
        until_s = now_s - min(self.tier.hold.seconds, deadline_s)
        while self.line and self.line[0].arrived_s <= until_s:
            gone.append(self.line.popleft())
        return gone

    def seen(self) -> list[PodSeen]:
        """The pods that are not on their way out."""
        ready = [self._pods[replica] for replica in self.ready]
        return [
            *(PodSeen(pod.number, pod.born_s, pod.ready_s) for pod in ready),
            *(PodSeen(pod.number, pod.born_s, None) for pod in self.starting),
        ]

    def freed(self, held_s: float, now_s: float) -> None:
        """A request has left a replica."""
        self._hold_s += (held_s - self._hold_s) * (_HOLD_GAIN if self._hold_s else 1.0)
        self._admit(now_s)

    def _admit(self, now_s: float) -> None:
        while self.line and (replica := self._choose(0)) is not None:
            replica.add(self.line.popleft(), now_s)
            self._wake(replica)

    def _choose(self, turn: int) -> Replica | None:
        if self._warmup:
            return warmup.least_busy(self.ready, tried=(), turn=turn)
        return choose.least_busy(self.ready, tried=(), turn=turn)

    def ramp(self, now_s: float) -> None:
        """What is new gets a little more of the load."""
        if self._warmup:
            self._warmup.ramp(now_s)

    # What the operator does.

    def scale(self, wanted: int, now_s: float) -> None:
        """Have so many replicas: start pods, or tell some to go."""
        self.advance(now_s)
        self.wanted = wanted
        while len(self.ready) + len(self.starting) < wanted:
            self.starting.append(self._pod(now_s, now_s + self._cold_start_s()))
        while len(self.ready) + len(self.starting) > wanted:
            if self.starting:  # what does not work yet goes first, as in a ReplicaSet
                self.starting.pop()
            else:
                replica = min(self.ready, key=lambda one: one.in_flight)
                self._serve([one for one in self.ready if one is not replica], now_s)
                pod = self._pods[replica]
                pod.gone_s = now_s
                self.draining.append(pod)

    def advance(self, now_s: float) -> None:
        """Bill what ran until now; let pods become ready or vanish."""
        self.replica_s += self.pods * (now_s - self._billed_s)
        self._billed_s = now_s
        begun = [pod for pod in self.starting if pod.ready_s <= now_s]
        for pod in begun:
            self.starting.remove(pod)
            self.cold_starts_s = [*self.cold_starts_s[-99:], pod.ready_s - pod.born_s]
        if begun:
            self._serve([*self.ready, *(pod.replica for pod in begun)], now_s)
        for pod in [pod for pod in self.draining if pod.replica.in_flight == 0]:
            self.draining.remove(pod)
            del self._pods[pod.replica]
        self._admit(now_s)

    def kill(self, now_s: float) -> list[Job]:
        """The busiest pod dies; gives the requests that it had."""
        self.advance(now_s)
        if not self.ready:
            return []
        replica = max(self.ready, key=lambda one: one.in_flight)
        self._serve([one for one in self.ready if one is not replica], now_s)
        del self._pods[replica]
        lost = replica.jobs()
        self.scale(self.wanted, now_s)
        return lost

    def _serve(self, replicas: list[Replica], now_s: float) -> None:
        """These are the ones that requests are sent to now."""
        for replica in replicas:
            replica.room = self.tier.room
        self._warmup.arrive(self.ready, replicas, now_s)
        self.ready = replicas

    def _pod(self, born_s: float, ready_s: float) -> Pod:
        replica = Replica(self._engine, on_first=self._on_first, on_done=self._on_done)
        self._pods[replica] = pod = Pod(replica, number=next(self._numbers), born_s=born_s, ready_s=ready_s)
        return pod

    def _cold_start_s(self) -> float:
        cold, random = self.tier.cold, self._random
        parts = (cold.image_s, cold.weights_s, cold.engine_s)
        took_s = sum(part * math.exp(random.gauss(0.0, cold.spread)) for part in parts)
        while random.random() < self._conditions.start_failures:
            took_s += 10.0 + cold.engine_s  # it crashed and was started again
        return took_s * self._conditions.cold_start_factor
