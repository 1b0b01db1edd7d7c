"""One replica with continuous batching: chunked prefill, a shared KV memory, preemption.

It jumps.  Between two changes of the batch all steps are alike, so a run of decode steps is one event whose length
has a closed form; a request costs three or four events, however long its answer is.
"""

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from modelfleet.plan.engine import Engine

NEVER_S = float("inf")
_ROUNDING = 1e-6  # of a step: who asks at its very end finds it done


class Job:
    """One attempt of a request at one replica.  Times in seconds, lengths in tokens."""

    __slots__ = (
        "arrived_s", "done_at", "first_s", "left", "output", "owner", "prompt", "to_prefill", "turn",
    )  # fmt: skip

    def __init__(self, *, prompt: int, cached: int, output: int, owner: object = None) -> None:
        self.prompt = prompt  # its whole context before the next token
        self.to_prefill = max(1, prompt - cached)
        self.output = output
        self.left = output  # tokens that it has still to give
        self.owner = owner
        self.arrived_s = 0.0
        self.first_s = NEVER_S
        self.done_at = 0  # on the replica's step clock
        self.turn = 0  # counts admissions


class Replica:
    """Takes jobs; `due_s` says when `step()` must be called next."""

    seed = 0  # of its address, which requests are not sent by here
    __slots__ = (
        "_clock",
        "_context",
        "_eligible_s",
        "_ends",
        "_engine",
        "_fresh",
        "_on_done",
        "_on_first",
        "_prefilling",
        "_reserved",
        "_run",
        "_running",
        "_started_s",
        "_turns",
        "due_s",
        "in_flight",
        "preemptions",
        "room",
        "tokens_out",
        "waiting",
        "warmth",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        *,
        on_first: Callable[[Job, float], None],
        on_done: Callable[[Job, float], None],
    ) -> None:
        self._engine = engine
        self._on_first = on_first
        self._on_done = on_done
        self.waiting: deque[Job] = deque()
        self.in_flight = 0  # what a router counts: from sending the request to the end of its answer
        self.room = 0  # what a router gives it at most; its pool's matter
        self.warmth = 1.0  # likewise: less while it is new
        self.preemptions = 0
        self.tokens_out = 0
        self.due_s = NEVER_S
        self._clock = 0  # steps so far
        self._context = 0  # tokens of all running sequences
        self._running = 0
        self._ends: list[tuple[int, int, Job]] = []  # (step, turn, job), soonest first
        self._prefilling: list[Job] = []  # in the step under way
        self._fresh: list[Job] = []  # of these, whose prompt it completes
        self._reserved = 0  # KV of prompts that are not complete
        self._run = 0  # decode steps in the run under way; 0: a mixed step, or nothing
        self._started_s = 0.0  # of the step or run under way
        self._eligible_s = -1.0  # jobs that came until then may be in the next step
        self._turns = 0

    @property
    def running(self) -> int:
        return self._running + len(self._prefilling)

    @property
    def kv_share(self) -> float:
        """Of its KV memory, between 0 and 1, as of the start of the step under way."""
        return (self._context + self._reserved) / self._engine.kv_tokens

    def add(self, job: Job, now_s: float) -> None:
        """A request arrives."""
        job.arrived_s = now_s
        self.in_flight += 1
        self.waiting.append(job)
        if self.due_s == NEVER_S:
            self._eligible_s = now_s
            self._begin(now_s)
        elif self._run and len(self.waiting) == 1 and self._running < self._engine.sequences_max:
            self._cut(now_s)

    def jobs(self) -> list[Job]:
        """All that it has."""
        return [*(job for _, _, job in self._ends), *self._prefilling, *self.waiting]

    def given(self, job: Job, now_s: float) -> int:
        """Tokens that an unfinished answer has so far; `step()` has been called for all that was due before."""
        if job.done_at <= self._clock:  # it does not run
            return job.output - job.left
        return job.output - max(0, job.done_at - self._clock - self._steps_done(now_s))

    def step_ends_s(self, now_s: float) -> float:
        """When the single step under way ends, which may be one of a run."""
        if not self._run:
            return self.due_s
        steps = self._steps_done(now_s) + 1
        return self._started_s + self._engine.decode_steps_s(steps, self._running, self._context)

    def leave(self, job: Job, now_s: float) -> None:
        """Nobody waits for it any more: it goes at once from the queue, else with the step under way."""
        if job in self.waiting:
            self.waiting.remove(job)
            self.in_flight -= 1
            return
        for at, (_, turn, running) in enumerate(self._ends):
            if running is job:
                steps = self._cut_to(self._steps_done(now_s) + 1) if self._run else 1
                job.left -= max(0, job.done_at - self._clock - steps)
                job.done_at = min(job.done_at, self._clock + steps)
                self._ends[at] = (job.done_at, turn, job)
                heapify(self._ends)
                return
        job.left = 1  # with its first token

    def step(self) -> None:
        """What began last ends at `due_s`; begin the next."""
        now_s = self.due_s
        if self._run:
            self._clock += self._run
            self._context += self._run * self._running
            self.tokens_out += self._run * self._running
            self._run = 0
        else:
            self._end_mixed(now_s)
        self._finish(now_s)
        self._begin(now_s)

    def _cut(self, now_s: float) -> None:
        """The run ends early: the newcomer joins after the step that follows the present one, which is scheduled."""
        engine = self._engine
        done = engine.decode_steps_in(now_s - self._started_s, self._running, self._context)
        self._cut_to(int(done) + 2)

    def _cut_to(self, steps: int) -> int:
        """The run has no more steps than these; gives how many it has."""
        if steps < self._run:
            self._run = steps
            self.due_s = self._started_s + self._engine.decode_steps_s(steps, self._running, self._context)
        return self._run

    def _steps_done(self, now_s: float) -> int:
        """Of the run under way."""
        if not self._run:
            return 0
        done = self._engine.decode_steps_in(max(0.0, now_s - self._started_s), self._running, self._context)
        return min(self._run, int(done + _ROUNDING))

    def _end_mixed(self, now_s: float) -> None:
        self._clock += 1
        self._context += self._running
        self.tokens_out += self._running
        for job in self._fresh:
            self._reserved -= job.prompt
            self._running += 1
            self._context += job.prompt + 1
            self.tokens_out += 1
            job.done_at = self._clock + job.left - 1
            heappush(self._ends, (job.done_at, job.turn, job))
            if job.first_s == NEVER_S:
                job.first_s = now_s + self._engine.first_token_s
                self._on_first(job, job.first_s)
        self._prefilling = [job for job in self._prefilling if job.to_prefill > 0]
        self._fresh = []

    def _finish(self, now_s: float) -> None:
        ends = self._ends
        while ends and ends[0][0] <= self._clock:
            job = heappop(ends)[2]
            self._running -= 1
            self._context -= job.prompt + job.left
            self.in_flight -= 1
            self._on_done(job, now_s + self._engine.first_token_s)

    def _begin(self, now_s: float) -> None:
        """Schedule the next step, or a run of them."""
        if self.waiting or self._prefilling:
            prompt_tokens = self._fill()
            if prompt_tokens:
                self._run = 0
                self._eligible_s, self._started_s = self._started_s, now_s
                step_s = self._engine.mixed_step_s(
                    self._running + len(self._prefilling), self._context + self._reserved, prompt_tokens
                )
                self.due_s = now_s + step_s
                return
        if not self._running:
            self.due_s = NEVER_S
            self._started_s = now_s
            if self.waiting:  # came during the last step
                self._eligible_s = now_s
                self._begin(now_s)
            return
        self._decode(now_s)

    def _decode(self, now_s: float) -> None:
        room = self._engine.kv_tokens - self._context - self._reserved
        while room < self._running and self._running > 1:
            self._preempt()
            room = self._engine.kv_tokens - self._context - self._reserved
        steps = max(1, min(self._ends[0][0] - self._clock, room // max(1, self._running)))
        if self.waiting and self._running < self._engine.sequences_max:
            steps = 1  # somebody came too late for this step
        self._eligible_s, self._started_s = (self._started_s if steps == 1 else now_s), now_s
        self._run = steps
        self.due_s = now_s + self._engine.decode_steps_s(steps, self._running, self._context)

    def _fill(self) -> int:
        """Take prompts into the next step, oldest first; gives their tokens."""
        engine = self._engine
        budget = engine.step_tokens_max - self._running
        taken = 0
        for job in self._prefilling:
            taken += self._chunk(job, budget - taken)
        waiting = self.waiting
        while waiting and taken < budget and self._running + len(self._prefilling) < engine.sequences_max:
            job = waiting[0]
            if job.arrived_s > self._eligible_s:
                break
            if (
                self._context + self._reserved + job.prompt + self._running > engine.kv_tokens
                and self.running
            ):
                break
            waiting.popleft()
            self._turns += 1
            job.turn = self._turns
            self._reserved += job.prompt
            self._prefilling.append(job)
            taken += self._chunk(job, budget - taken)
        return taken

    def _chunk(self, job: Job, budget: int) -> int:
        part = min(job.to_prefill, budget)
        job.to_prefill -= part
        if job.to_prefill == 0:
            self._fresh.append(job)
        return part

    def _preempt(self) -> None:
        """KV memory is full: the youngest sequence waits and is computed again."""
        at = max(range(len(self._ends)), key=lambda place: self._ends[place][1])
        job = self._ends.pop(at)[2]
        self._ends.sort()
        given = job.left - (job.done_at - self._clock)
        self._running -= 1
        self._context -= job.prompt + given
        self.preemptions += 1
        job.prompt += given
        job.left -= given
        job.done_at = 0
        job.to_prefill = job.prompt
        self.waiting.appendleft(job)
