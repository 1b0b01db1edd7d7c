"""One measurement of one target: what it cost, and what the load saw."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.figures import ROOT
from bench.router import peers, processes
from bench.router.load import PROMPT_BYTES
from bench.router.targets import LOAD_CPU, PROXY_CPU, Target, pinned

CONNECTIONS = 32
LARGE_BYTES = 200_000
LARGE_CONNECTIONS = 8
CALL_S_MAX = 120.0

_WRK_SCRIPT = """
local file = io.open(os.getenv("BENCH_BODY"), "rb")
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = file:read("*a")
file:close()
function done(summary, latency, requests)
  local e = summary.errors
  print("SUMMARY " .. summary.requests .. " " .. summary.duration .. " "
    .. (e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass
class Cost:
    """CPU of the proxy over some requests or chunks."""

    count: int
    failed: int
    seconds: float
    cpu_s: float
    foreign: float  # share of the proxy's CPU that others used meanwhile
    seen: dict[str, float] = field(default_factory=dict)  # latencies

    @property
    def micros(self) -> float:
        """CPU microseconds of the proxy for each."""
        return self.cpu_s / max(1, self.count) * 1e6


@dataclass
class Meter:
    """CPU of a proxy's processes between two moments."""

    pids: list[int]
    began_s: float = 0.0
    used_s: float = 0.0
    busy_s: float = 0.0

    def start(self) -> None:
        self.began_s, self.used_s, self.busy_s = self._now()

    def stop(self) -> tuple[float, float, float]:
        """Seconds passed, CPU seconds of the proxy, share of its CPU that others used."""
        now_s, used_s, busy_s = self._now()
        passed_s, mine_s = now_s - self.began_s, used_s - self.used_s
        return passed_s, mine_s, max(0.0, busy_s - self.busy_s - mine_s) / passed_s

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), processes.cpu_s(self.pids), processes.busy(PROXY_CPU)


def meter(target: Target) -> Meter:
    return Meter(processes.tree(target.pid) if target.pid else [])


class Bench:
    """The load generators, all on one CPU beside the engine."""

    def __init__(self, folder: Path, control: int) -> None:
        self._folder = folder
        self._control = control
        self._script = folder / "post.lua"
        self._script.write_text(_WRK_SCRIPT)
        for name, size in (("small", PROMPT_BYTES), ("large", LARGE_BYTES)):
            ask = {"model": "bench", "messages": [{"role": "user", "content": "word " * (size // 5)}]}
            (folder / f"{name}.json").write_text(json.dumps(ask))

    def requests(self, target: Target, seconds: float, *, connections: int = CONNECTIONS) -> Cost:
        """As many plain requests as it takes, with a prompt of 1 KB."""
        return self._wrk(target, seconds, connections, "small")

    def large(self, target: Target, seconds: float) -> Cost:
        """The same with prompts of 200 KB."""
        return self._wrk(target, seconds, LARGE_CONNECTIONS, "large")

    def paced(self, target: Target, seconds: float, rate: float) -> Cost:
        seen, passed_s, cpu_s, foreign = self._load(target, "paced", f"--seconds={seconds}", f"--rate={rate}")
        return Cost(int(seen["count"]), int(seen["failed"]), passed_s, cpu_s, foreign, seen)

    def streams(self, target: Target, seconds: float, *, count: int, gap_ms: int, tokens: int = 50) -> Cost:
        """So many streams at once; counts chunks."""
        options = (f"--seconds={seconds}", f"--count={count}", f"--gap-ms={gap_ms}", f"--tokens={tokens}")
        seen, passed_s, cpu_s, foreign = self._load(target, "streams", *options)
        return Cost(int(seen["chunks"]), int(seen["failed"]), passed_s, cpu_s, foreign, seen)

    def cancel_ms(self, target: Target, times: int) -> list[float]:
        """From a client's leaving to the moment the engine knows."""
        left = self._load(target, "cancel", f"--count={times}")[0]["left"]
        until = time.monotonic() + 5
        while time.monotonic() < until:
            closed = self.control("/closed")
            if set(left) <= set(closed):
                break
            time.sleep(0.2)
        return [
            (closed[number] - at_s) * 1000 if number in closed else float("inf")
            for number, at_s in left.items()
        ]

    @contextmanager
    def under_load(self, target: Target, seconds: float) -> Iterator[list[Cost]]:
        """Requests beside what happens inside; the cost is there afterwards."""
        result: list[Cost] = []
        process = self._start_wrk(target, seconds, 16, "small")
        time.sleep(0.5)
        try:
            yield result
        finally:
            result.append(_summary(process.communicate(timeout=CALL_S_MAX)[0], 0.0, 0.0))

    def flips(self, table: str, times: int, pause_s: float) -> list[dict[str, float]]:
        """Let the engine's API server turn the weights; when the router followed, by flip."""
        found: list[dict[str, float]] = self.control(f"/flip?table={table}&times={times}&pause_s={pause_s}")
        return found

    def control(self, path: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self._control, timeout=CALL_S_MAX)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _wrk(self, target: Target, seconds: float, connections: int, body: str) -> Cost:
        counted = meter(target)
        counted.start()
        process = self._start_wrk(target, seconds, connections, body)
        output = process.communicate(timeout=CALL_S_MAX)[0]
        _, cpu_s, foreign = counted.stop()
        return _summary(output, cpu_s, foreign)

    def _start_wrk(
        self, target: Target, seconds: float, connections: int, body: str
    ) -> "subprocess.Popen[str]":
        url = f"http://127.0.0.1:{target.port}/v1/chat/completions"
        options = [
            "-t1",
            f"-c{connections}",
            f"-d{round(seconds)}s",
            "--timeout",
            "20s",
            "-s",
            str(self._script),
        ]
        return subprocess.Popen(
            ["taskset", "-c", str(LOAD_CPU), str(peers.debian("wrk")), *options, url],
            env={**os.environ, "BENCH_BODY": str(self._folder / f"{body}.json")},
            stdout=subprocess.PIPE,
            text=True,
        )

    def _load(self, target: Target, kind: str, *options: str) -> tuple[dict[str, Any], float, float, float]:
        counted = meter(target)
        counted.start()
        command = ["taskset", "-c", str(LOAD_CPU), sys.executable, "-m", "bench.router.load", kind]
        done = subprocess.run(
            [*command, f"--port={target.port}", *options],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=CALL_S_MAX,
        )  # fmt: skip
        passed_s, cpu_s, foreign = counted.stop()
        if done.returncode:
            raise RuntimeError(f"load on {target.name} failed: {done.stderr[-500:]}")
        return json.loads(done.stdout), passed_s, cpu_s, foreign


def _summary(output: str, cpu_s: float, foreign: float) -> Cost:
    found = re.search(r"SUMMARY (\d+) (\d+) (\d+)", output)
    if found is None:
        raise RuntimeError(f"wrk said: {output[-300:]}")
    count, micros, failed = map(int, found.groups())
    return Cost(count, failed, micros / 1e6, cpu_s, foreign)


@contextmanager
def engine(folder: Path, ports: tuple[int, int], control: int, tables: dict[str, Any]) -> Iterator[Target]:
    """The stand-in engines and API server; as a target, the small engine itself."""
    command = [sys.executable, "-m", "bench.router.engine", "--control", str(control)]
    command += ["--ports", *map(str, ports), "--tables", json.dumps(tables)]
    python_path = os.pathsep.join((str(ROOT), str(ROOT / "operator")))
    log = folder / "engine.log"
    with pinned(command, LOAD_CPU, environment={"PYTHONPATH": python_path}, log=log) as process:
        until = time.monotonic() + 20
        while "ready" not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the engine does not start: {log.read_text()[-300:]}")
            time.sleep(0.05)
        yield Target("direct", ports[0], None)
