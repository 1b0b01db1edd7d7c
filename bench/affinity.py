"""What prefix affinity does for a cache: `make bench-affinity` writes bench/out/affinity.json.

Three real llama.cpp servers behind the router process, and conversations that go on in any order, under either
strategy in turns.  Each answer tells its replica (`model`), and how much of its prompt was in the cache (`usage`).
Every run has the same texts behind a number of its own, so it finds the caches cold and the same work to do.
"""

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import uvloop

from bench import figures, logprobs
from bench.figures import Figure
from bench.load import routers, site
from e2e.cluster.controlplane import free_ports

STRATEGIES = {"least_in_flight": 0, "prefix_affinity": 128}  # characters; the latter is the default
REPLICAS, SLOTS, CONTEXT = 3, 4, 8192
ROUNDS, CONVERSATIONS, TURNS, CLIENTS = 2, 9, 4, 6
SYSTEM_WORDS, USER_WORDS, ANSWER_TOKENS = 260, 8, 4
TIMEOUT_S = 300.0
WORDS = ("river", "stone", "garden", "window", "paper", "music", "winter", "bread", "silver", "morning")


@dataclass(frozen=True)
class Answer:
    """`seen` tokens of its prompt its own conversation had already sent: what a single replica would find."""

    replica: str
    prompt: int
    cached: int
    first_ms: float
    seen: int = 0


@dataclass
class Conversation:
    """One that goes on with what was answered."""

    questions: list[str]
    messages: list[dict[str, str]]
    sent: int = 0  # tokens of its last prompt

    def turn(self, port: int) -> Answer:
        self.messages.append({"role": "user", "content": self.questions.pop(0)})
        answer, said = ask(port, self.messages)
        self.messages.append({"role": "assistant", "content": said})
        seen, self.sent = self.sent, answer.prompt
        return replace(answer, seen=seen)


def load(port: int, waiting: list[Conversation], clock: random.Random) -> list[Answer]:
    """Clients that each take any conversation that waits, until all are over."""
    answers: list[Answer] = []
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                if not waiting:
                    return  # whoever asks for the others goes on with them
                mine = waiting.pop(clock.randrange(len(waiting)))
            answer = mine.turn(port)
            with lock:
                answers.append(answer)
                if mine.questions:
                    waiting.append(mine)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda _: client(), range(CLIENTS)))
    return answers


def ask(port: int, messages: Sequence[dict[str, str]]) -> tuple[Answer, str]:
    """One streamed answer and its text.  Raises RuntimeError when it is not a whole one."""
    body = {"model": site.MODEL, "messages": messages, "max_tokens": ANSWER_TOKENS, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True}}  # fmt: skip
    began_s, first_ms, said, last = time.monotonic(), 0.0, "", {}
    with closing(HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
        fields = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), fields)
        response = connection.getresponse()
        for line in response:
            if line.startswith(b"data: {"):
                last = json.loads(line[6:])
                text = "".join(choice["delta"].get("content") or "" for choice in last.get("choices", ()))
                first_ms = first_ms or ((time.monotonic() - began_s) * 1000 if text else 0.0)
                said += text
    if response.status != 200 or "usage" not in last:
        raise RuntimeError(f"status {response.status}, no whole answer: {said!r}")
    usage = last["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return Answer(last["model"], usage["prompt_tokens"], cached, first_ms), said


def conversations(number: int) -> list[Conversation]:
    """The same for every `number`, which stands before everything else."""
    source = random.Random(1)  # noqa: S311 - a load, the same one in every run
    found = []
    for desk in range(CONVERSATIONS):
        system = f"{number}{desk:02} is your desk: {' '.join(source.choices(WORDS, k=SYSTEM_WORDS))}"
        questions = [" ".join(source.choices(WORDS, k=USER_WORDS)) for _ in range(TURNS)]
        found.append(Conversation(questions, [{"role": "system", "content": system}]))
    return found


def table(prefix_characters: int) -> dict[str, Any]:
    """One tier, and how it chooses among its replicas."""
    found = site.table({"small": 1000}, concurrency=SLOTS, waiting=CLIENTS, deadline_s=TIMEOUT_S)
    found["cascades"][0]["tiers"][0] |= {"timeout_s": TIMEOUT_S, "prefix_characters": prefix_characters}
    return found


def _share(answers: Sequence[Answer], tokens: Sequence[int]) -> float:
    return 100 * sum(tokens) / sum(each.prompt for each in answers)


def _cached(answers: Sequence[Answer]) -> float:
    return _share(answers, [each.cached for each in answers])


def _busiest(answers: Sequence[Answer]) -> float:
    return max(Counter(each.replica for each in answers).values()) * REPLICAS / len(answers)


def _first(answers: Sequence[Answer]) -> float:
    return statistics.median(each.first_ms for each in answers)


KINDS = (
    ("prompt_tokens_cached_percent", _cached, "% of prompt tokens", 1),
    ("busiest_replica", _busiest, "times the mean of requests", 2),
    ("first_token_ms", _first, "ms, median", 0),
)


async def measured(folder: Path, ports: Sequence[int]) -> dict[str, list[list[Answer]]]:
    """The answers of every round, by strategy; the one that goes first changes from round to round."""
    found: dict[str, list[list[Answer]]] = {name: [] for name in STRATEGIES}
    plane = site.Plane(asyncio.get_running_loop(), {})
    plane.serve("small", *ports)
    await plane.start()
    for number in range(ROUNDS):
        for place, name in enumerate(list(STRATEGIES)[:: -1 if number % 2 else 1]):
            begun = conversations(10 + number * len(STRATEGIES) + place)
            clock = random.Random(number)  # noqa: S311 - a load, the same for both
            plane.write(table(STRATEGIES[name]))
            async with routers.ready_router(plane, folder) as router:
                found[name].append(await asyncio.to_thread(load, router.port, begun, clock))
            print(
                f"==> {name}:", *(f"{kind} {of(found[name][-1]):.2f}" for kind, of, *_ in KINDS), flush=True
            )
    plane.stop()
    return found


def told(found: dict[str, list[list[Answer]]], busy: float) -> list[Figure]:
    """Means of the rounds with their range, and `busy`: how many processes wanted a core before."""
    every = [
        _ranged(f"{kind}_{name}", [of(run) for run in runs], unit, digits)
        for kind, of, unit, digits in KINDS
        for name, runs in found.items()
    ]
    seen = [_share(run, [each.seen for each in run]) for runs in found.values() for run in runs]
    every.append(_ranged("prompt_tokens_sent_before_percent", seen, "% of prompt tokens", 1))
    return [*every, _ranged("load_before", [busy], f"processes on {os.cpu_count()} cores", 1)]


def _ranged(name: str, runs: Sequence[float], unit: str, digits: int) -> Figure:
    return figures.ranged(name, statistics.mean(runs), runs, unit, digits=digits)


def main() -> int:
    busy = os.getloadavg()[0]
    ports = free_ports(REPLICAS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as engines:
        for number, port in enumerate(ports):
            plan = logprobs.llamacpp(port)
            small = ["--alias", f"replica-{number}", "--ctx-size", str(CONTEXT), "--parallel", str(SLOTS)]
            command = [*plan.command, *small, "--threads", "1", "--threads-batch", "1", "--metrics"]
            engines.enter_context(logprobs.running(replace(plan, command=command), port))
        found = uvloop.run(measured(Path(folder), ports))
    for figure in figures.write("affinity.json", told(found, busy))["figures"]:
        print(f"{figure['name']}: {figure['value']} ({figure['low']} .. {figure['high']}) {figure['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
