"""The simulator's replica on a real clock: requests come when they come, tokens go out when they are due.

Nothing of the timing is here.  `sim/replica.py` says when a step ends and who got a token in it; this waits until
then.  What the event loop wakes up for too late comes in one piece, as with a vLLM whose frontend lags.
"""

import asyncio
from collections.abc import Callable

from e2e.standin.counters import Counters
from modelfleet.plan.engine import Engine
from modelfleet.sim.replica import NEVER_S, Job, Replica

Tell = Callable[[int, bool], None]  # so many more tokens; whether these are the last


class Ask:
    """One request.  `tell` hears of every step that gives it a token, or of the last one only."""

    __slots__ = ("given", "job", "stream", "tell")

    def __init__(self, job: Job, tell: Tell, *, stream: bool) -> None:
        self.job = job
        self.tell: Tell | None = tell
        self.stream = stream
        self.given = 0


class LiveEngine:
    """One engine.  `speed`: seconds of the engine that pass in one of the clock."""

    def __init__(self, engine: Engine, *, speed: float, counters: Counters) -> None:
        self.engine = engine
        self._speed = speed
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._replica = Replica(engine, on_first=self._first, on_done=self._done)
        self._streams: set[Ask] = set()
        self._ended: list[Ask] = []  # in the steps that are being looked at
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return self._replica.in_flight > 0

    def ask(self, tell: Tell, *, prompt: int, output: int, stream: bool) -> Ask:
        """A request of so many tokens comes; `tell` is called until it is answered."""
        ask = Ask(Job(prompt=prompt, cached=0, output=output), tell, stream=stream)
        ask.job.owner = ask
        self._work()
        self._counters.came(prompt=prompt)
        self._replica.add(ask.job, self._now_s())
        if stream:
            self._streams.add(ask)
        self._arm()
        return ask

    def leave(self, ask: Ask) -> None:
        """Its client is gone; `tell` is not called again."""
        self._work()
        ask.tell = None
        if ask.given == ask.job.output:
            return
        self._streams.discard(ask)
        self._counters.left()
        self._replica.leave(ask.job, self._now_s())
        self._arm()

    def metrics(self) -> str:
        """As /metrics says them."""
        replica = self._replica
        return self._counters.text(
            running=replica.running,
            waiting=len(replica.waiting),
            kv_share=replica.kv_share,
            preemptions=replica.preemptions,
            tokens_out=replica.tokens_out,
        )

    def _now_s(self) -> float:
        """By the engine's clock."""
        return (self._loop.time() - self._began_s) * self._speed

    def _wake(self) -> None:
        self._timer = None
        self._work()
        self._arm()

    def _work(self) -> None:
        """Catch up with the clock, and have the tokens told that came of it."""
        now_s, replica = self._now_s(), self._replica
        while replica.due_s <= now_s:
            replica.step()
        told: list[tuple[Ask, int, bool]] = []
        for ask in self._ended:
            self._streams.discard(ask)
            told.append((ask, ask.job.output - ask.given, True))
            ask.given = ask.job.output
        self._ended.clear()
        for ask in self._streams:
            fresh = replica.given(ask.job, now_s) - ask.given
            if fresh > 0:
                ask.given += fresh
                told.append((ask, fresh, False))
        if told:
            # From the end of the step to the socket it is as long for every token.
            self._loop.call_later(self.engine.first_token_s / self._speed, _tell, told)

    def _arm(self) -> None:
        """Have `_wake` called at the end of the next step that matters to somebody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._replica.due_s < NEVER_S:
            due_s = self._replica.step_ends_s(self._now_s()) if self._streams else self._replica.due_s
            self._timer = self._loop.call_at(self._began_s + due_s / self._speed, self._wake)

    def _first(self, job: Job, at_s: float) -> None:
        self._counters.first((at_s - job.arrived_s) / self._speed)

    def _done(self, job: Job, at_s: float) -> None:
        ask = job.owner
        assert isinstance(ask, Ask)
        if ask.tell is None:
            return
        self._ended.append(ask)
        whole_s, first_s = (at_s - job.arrived_s) / self._speed, (job.first_s - job.arrived_s) / self._speed
        self._counters.done(whole_s=whole_s, first_s=first_s, tokens=job.output)


def _tell(told: list[tuple[Ask, int, bool]]) -> None:
    for ask, fresh, last in told:
        if ask.tell is not None:
            ask.tell(fresh, last)
