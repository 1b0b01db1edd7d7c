"""The work queue: keys in, one reconcile per key at a time, and nothing is ever forgotten.

A key that is added while it waits is one entry; added while it is worked on, it comes again afterwards.  A failure
comes back with growing, jittered delay; a success says itself when it wants to be looked at next.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from modelfleet.control.ports import Clock, Key
from modelfleet.errors import ClusterError, Conflict, InvalidSpec, NotYet

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 60.0
CONFLICT_DELAY_S = 0.1  # the watch brings what the other wrote within this time
CONFLICTS_DOUBLED = 6  # a conflict that stays is retried every few seconds, never faster
STUCK_LIMIT_S = 120.0  # longer than any reconcile whose every request times out
REQUEUE_MIN_S = 0.001

log = structlog.get_logger(__name__)

Reconcile = Callable[[Key], Awaitable[float | None]]


@dataclass(slots=True)
class _State:
    waiting: bool = False  # in the line, or to be put there after the current work
    working_since_s: float | None = None
    failures: int = 0
    conflicts: int = 0
    due_s: float | None = None  # of the one valid entry among the delayed


@dataclass(slots=True)
class WorkQueue:
    """`reconcile` gets one key and returns after how many seconds it wants it again, or None for never.

    It may raise: Conflict and NotYet are retried soon and silently, other ClusterErrors with back-off, InvalidSpec
    not at all; anything else is a bug, logged with its traceback and retried with back-off.
    """

    reconcile: Reconcile
    clock: Clock
    workers: int = 8
    observer: "Observer | None" = None
    _states: dict[Key, _State] = field(default_factory=dict)
    _line: asyncio.Queue[Key] = field(default_factory=asyncio.Queue)
    _delayed: list[tuple[float, int, Key]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as a worker is free."""
        state = self._states.setdefault(key, _State())
        state.due_s = None
        if state.waiting:
            return
        state.waiting = True
        if state.working_since_s is None:
            self._line.put_nowait(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Have the key worked on after a while; an earlier time that was set already stays."""
        state = self._states.setdefault(key, _State())
        due_s = self.clock.now_s() + max(delay_s, REQUEUE_MIN_S)
        if state.waiting or (state.due_s is not None and state.due_s <= due_s):
            return
        state.due_s = due_s
        heapq.heappush(self._delayed, (due_s, next(self._order), key))
        self._woken.set()

    def stuck_s(self) -> float:
        """For how long the slowest worker has been at one key, in seconds."""
        now_s = self.clock.now_s()
        since = (state.working_since_s for state in self._states.values())
        return max((now_s - start_s for start_s in since if start_s is not None), default=0.0)

    def depth(self) -> int:
        """Keys that wait for a worker."""
        return self._line.qsize()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wake_delayed(), name="queue-delays")
            for number in range(self.workers):
                group.create_task(self._work(), name=f"queue-worker-{number}")

    async def _work(self) -> None:
        while True:
            key = await self._line.get()
            state = self._states[key]
            state.waiting = False
            state.working_since_s = self.clock.now_s()
            try:
                delay_s = await self._attempt(key, state)
            finally:
                took_s = self.clock.now_s() - state.working_since_s
                state.working_since_s = None
            if self.observer is not None:
                self.observer(key, took_s, state.failures)
            if state.waiting:
                self._line.put_nowait(key)
            elif delay_s is not None:
                self.add_after(key, delay_s)
            elif not (state.failures or state.conflicts) and state.due_s is None:
                del self._states[key]

    async def _attempt(self, key: Key, state: _State) -> float | None:
        """Reconcile once; the delay until the next time, or None for never."""
        bound = log.bind(kind=key.kind, namespace=key.namespace, name=key.name)
        try:
            again_s = await self.reconcile(key)
        except Conflict:
            state.conflicts += 1
            doubled = 2.0 ** min(state.conflicts, CONFLICTS_DOUBLED)
            return CONFLICT_DELAY_S * doubled * (0.5 + random.random() / 2)  # noqa: S311  jitter
        except NotYet as wait:
            return wait.retry_after_s
        except InvalidSpec as err:
            bound.warning("the object cannot work as it is written", reason=err.reason, message=err.message)
            return None
        except ClusterError as err:
            state.failures += 1
            bound.warning(
                "the API server refused", error=str(err), status=err.status, failures=state.failures
            )
            return max(backoff_s(state.failures), err.retry_after_s or 0.0)
        except Exception:  # noqa: BLE001  a bug in one reconcile must not end the others
            state.failures += 1
            bound.exception("reconcile failed", failures=state.failures)
            return backoff_s(state.failures)
        state.failures = state.conflicts = 0
        return again_s

    async def _wake_delayed(self) -> None:
        while True:
            self._woken.clear()
            timeout_s = self._move_due()
            try:
                await asyncio.wait_for(self._woken.wait(), timeout_s)
            except TimeoutError:
                continue

    def _move_due(self) -> float | None:
        """Put what is due into the line; seconds until the next, None when nothing is delayed."""
        now_s = self.clock.now_s()
        while self._delayed and self._delayed[0][0] <= now_s:
            due_s, _, key = heapq.heappop(self._delayed)
            state = self._states.get(key)
            if state is not None and state.due_s == due_s:
                self.add(key)
        return self._delayed[0][0] - now_s if self._delayed else None


Observer = Callable[[Key, float, int], None]  # (key, seconds it took, failures in a row)


def backoff_s(failures: int) -> float:
    """Delay before the next try after that many failures in a row: doubling, capped, with up to half of jitter."""
    full_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
    return full_s * (0.5 + random.random() / 2)  # noqa: S311  jitter
