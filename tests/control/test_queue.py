import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from modelfleet.adapters.clock import SystemClock
from modelfleet.api.key import Key
from modelfleet.control.queue import BACKOFF_MAX_S, WorkQueue, backoff_s
from modelfleet.errors import ClusterError, Conflict, InvalidSpec, NotYet
from tests.fakes import FakeClock

A, B = Key("ModelTier", "ns", "a"), Key("ModelTier", "ns", "b")
LIMIT_S = 10.0


class Bench:
    """A queue whose work can be held; `done` are the keys in the order in which they were finished."""

    def __init__(self, outcome: Callable[[int], float | None] = lambda _: None, *, workers: int = 2) -> None:
        self.queue = WorkQueue(self._work, SystemClock(), workers=workers)
        self.started: asyncio.Queue[Key] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.done: list[Key] = []
        self.running: list[Key] = []
        self.most_at_once = 0
        self._outcome = outcome

    async def _work(self, key: Key) -> float | None:
        assert key not in self.running, "one worker per key"
        self.running.append(key)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.started.put_nowait(key)
        await self.gate.wait()
        self.running.remove(key)
        self.done.append(key)
        return self._outcome(len(self.done))

    async def next(self) -> Key:
        """The next key that is worked on."""
        return await asyncio.wait_for(self.started.get(), LIMIT_S)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the condition."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():  # noqa: ASYNC110  it is over plain lists
                await asyncio.sleep(0)


@asynccontextmanager
async def working(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.queue.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_added_twice_is_worked_on_once():
    bench = Bench()
    bench.queue.add(A)
    bench.queue.add(A)
    bench.queue.add(B)

    async with working(bench):
        await bench.until(lambda: len(bench.done) == 2)
        assert sorted(bench.done) == [A, B]
        assert bench.queue.depth() == 0


async def test_a_key_added_while_it_is_worked_on_comes_again_and_never_twice_at_once():
    bench = Bench()
    bench.gate.clear()
    async with working(bench):
        bench.queue.add(A)
        assert await bench.next() == A
        bench.queue.add(A)
        bench.queue.add(A)
        bench.queue.add(B)
        assert await bench.next() == B
        bench.gate.set()
        assert await bench.next() == A
        await bench.until(lambda: len(bench.done) == 3)
        assert bench.most_at_once == 2


async def test_work_that_asks_for_it_comes_again():
    bench = Bench(lambda done: 0.01 if done < 3 else None)
    async with working(bench):
        bench.queue.add(A)
        await bench.until(lambda: len(bench.done) == 3)


def failing(error: Exception, *, times: int = 2) -> Callable[[int], float | None]:
    def outcome(done: int) -> None:
        if done <= times:
            raise error

    return outcome


RETRIED = {
    "a conflict": Conflict("changed"),
    "something else comes first": NotYet("later", retry_after_s=0.01),
    "the API server refuses": ClusterError("no"),
    "a bug": RuntimeError("bug"),
}


@pytest.mark.parametrize("error", RETRIED.values(), ids=RETRIED)
async def test_a_failure_comes_again(error: Exception):
    bench = Bench(failing(error, times=1))
    async with working(bench):
        bench.queue.add(A)
        await bench.until(lambda: len(bench.done) == 2)


async def test_what_only_the_user_can_mend_is_not_retried():
    bench = Bench(failing(InvalidSpec("Bad", "no")))
    async with working(bench):
        bench.queue.add(A)
        await bench.until(lambda: bench.done == [A])
        bench.queue.add(B)
        await bench.until(lambda: B in bench.done)
        assert bench.done == [A, B]


async def test_a_new_event_does_not_wait_for_the_back_off():
    bench = Bench(failing(ClusterError("no", retry_after_s=3600.0), times=1))
    async with working(bench):
        bench.queue.add(A)
        await bench.until(lambda: bench.done == [A])
        bench.queue.add(A)
        await bench.until(lambda: len(bench.done) == 2)


async def test_the_earlier_of_two_delays_counts():
    bench = Bench()
    async with working(bench):
        bench.queue.add_after(A, 3600.0)
        bench.queue.add_after(A, 0.01)
        bench.queue.add_after(A, 3600.0)
        await bench.until(lambda: bench.done == [A])


async def test_a_worker_that_hangs_shows():
    clock = FakeClock()
    hang = asyncio.Event()

    async def work(_: Key) -> float | None:
        await hang.wait()
        return None

    queue = WorkQueue(work, clock, workers=1)
    task = asyncio.create_task(queue.run())
    queue.add(A)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert queue.stuck_s() == 0.0
    clock.time_s += 500.0
    assert queue.stuck_s() == 500.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_observer_hears_of_every_attempt():
    seen: list[tuple[Key, int]] = []
    bench = Bench(failing(ClusterError("no"), times=1))
    bench.queue.observer = lambda key, _took_s, failures: seen.append((key, failures))
    async with working(bench):
        bench.queue.add(A)
        await bench.until(lambda: len(seen) == 2)

    assert seen == [(A, 1), (A, 0)]


def test_back_off_doubles_with_jitter_up_to_a_limit():
    for failures, most_s in ((1, 0.5), (2, 1.0), (5, 8.0), (50, BACKOFF_MAX_S)):
        assert all(most_s / 2 <= backoff_s(failures) <= most_s for _ in range(20))
