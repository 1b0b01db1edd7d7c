"""`python -m e2e.load`: load that is steered over standard input and reported on standard output.

Each line on standard input is a JSON object of settings to change: `{"concurrency": 6, "streams": 50}` is a closed
loop.  `{"arrivals": [[0.5, 200, 60], ...]}` is an open one: a stream of 200 words that may be answered with 60
tokens, half a second after the line was read, whatever became of those before.  Each line on standard output is a
report, five a second.  After `{"stop": true}`, or at the end of standard input, no new
request is sent; those under way finish, and a last report with `"final": true` is written.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from e2e.load.outcome import Outcome
from e2e.load.senders import HttpSender, OpenAISender, Sender
from e2e.load.tally import Tally

REPORT_EVERY_S = 0.2
WORKERS_MAX = 256
PROMPTS = (
    "Name three rivers.",
    "What is a cascade?",
    "Write one sentence about autumn.",
    "Why is the sky blue?",
    "What is the capital of France?",
)


@dataclass
class Settings:
    """What standard input can change."""

    concurrency: int = 0
    streams: int = 50  # percent of requests that are streamed
    max_tokens: int = 16
    pause_s: float = 0.0  # between two requests of one worker
    ttft_s: float = 1.0  # what a good answer keeps to
    itl_s: float = 0.05
    word: str = "word"  # of which the questions of an open loop are made


@dataclass
class Load:
    sender: Sender
    model: str
    settings: Settings
    tally: Tally = field(default_factory=Tally)
    under_way: dict[int, Outcome] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)  # of the open loops' questions

    async def run(self, *, seed: int) -> None:
        """Workers up to the concurrency of the moment, until stdin ends."""
        numbers = itertools.count()
        dice = random.Random(seed)  # noqa: S311  # a fair mix, not a secret
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            async with asyncio.TaskGroup() as workers:
                group.create_task(self._obey(workers))
                for index in range(WORKERS_MAX):
                    workers.create_task(self._work(index, numbers, dice))
            reporter.cancel()
        await self.sender.close()
        print(json.dumps({"final": True, **self.tally.report([])}), flush=True)

    async def _work(self, index: int, numbers: "itertools.count[int]", dice: random.Random) -> None:
        while not self.stopping.is_set():
            if index >= self.settings.concurrency:
                async with self.changed:
                    await self.changed.wait_for(
                        lambda: self.stopping.is_set() or index < self.settings.concurrency
                    )
                continue
            number = next(numbers)
            stream = dice.random() * 100 < self.settings.streams
            question = PROMPTS[number % len(PROMPTS)]
            await self._one(number, question, stream=stream, max_tokens=self.settings.max_tokens)
            if self.settings.pause_s:
                await asyncio.sleep(self.settings.pause_s)

    async def _replay(self, arrivals: Sequence[tuple[float, int, int]], senders: asyncio.TaskGroup) -> None:
        began_s = time.monotonic()
        for at_s, prompt, tokens in arrivals:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), began_s + at_s - time.monotonic())
            if self.stopping.is_set():
                return
            self.tally.late_s = max(self.tally.late_s, time.monotonic() - began_s - at_s)
            number = next(self.numbers)
            question = f"{number} " + f"{self.settings.word} " * (prompt - 1)
            senders.create_task(self._one(-1 - number, question, stream=True, max_tokens=tokens))

    async def _one(self, number: int, question: str, *, stream: bool, max_tokens: int) -> None:
        outcome = Outcome(stream=stream, started_at_s=time.time())
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": max_tokens,
            "stream": stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        self.tally.sent += 1
        self.under_way[number] = outcome
        start = time.monotonic()
        await self.sender.send(body, outcome)
        outcome.duration_s = time.monotonic() - start
        del self.under_way[number]
        self.tally.add(outcome, good=outcome.within(ttft_s=self.settings.ttft_s, itl_s=self.settings.itl_s))

    async def _obey(self, senders: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            told: dict[str, Any] = json.loads(line)
            if told.pop("stop", False):
                break
            if arrivals := told.pop("arrivals", None):
                senders.create_task(self._replay(arrivals, senders))
            for name, value in told.items():
                if not hasattr(self.settings, name):
                    raise SystemExit(f"no setting is called {name}")
                setattr(self.settings, name, value)
            async with self.changed:
                self.changed.notify_all()
        self.stopping.set()
        async with self.changed:
            self.changed.notify_all()

    async def _report(self) -> None:
        while True:
            report = self.tally.report(self.under_way.values())
            print(json.dumps({**report, "settings": asdict(self.settings)}), flush=True)
            await asyncio.sleep(REPORT_EVERY_S)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m e2e.load", description=__doc__)
    parser.add_argument("--base-url", required=True, help="up to and including /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--client", choices=["http", "openai"], default="http")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sender = OpenAISender(given.base_url) if given.client == "openai" else HttpSender(given.base_url)
    await Load(sender, given.model, Settings()).run(seed=given.seed)


if __name__ == "__main__":
    asyncio.run(main())
