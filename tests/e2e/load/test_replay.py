"""An open loop keeps to its times, whatever becomes of the requests."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.standin.flags import options
from e2e.standin.server import serve

ROOT = Path(__file__).parents[3]
# One place of half a second for six requests within half a second: the last ones wait for two seconds.
ARRIVALS = [(0.1 * number, 20, 29) for number in range(6)]


@pytest.fixture
def port(unused_tcp_port: int) -> int:
    return unused_tcp_port


async def replayed(port: int, lines: list[dict[str, Any]], *, model: str = "m") -> dict[str, Any]:
    """The last report of a generator that was told these lines, against one stand-in."""
    argv = ["serve", "x", "--served-model-name=m", "--host=127.0.0.1", f"--port={port}", "--max-num-seqs=1"]
    stop = asyncio.Event()
    engine = asyncio.create_task(serve(options(argv, {"STANDIN_PROFILE": "70b-h100-tp4"}), stop=stop))
    command = ["-m", "e2e.load", f"--base-url=http://127.0.0.1:{port}/v1", f"--model={model}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    report: dict[str, Any] = {}
    while not report.get("final"):
        report = json.loads(await process.stdout.readline())
        if report.get("finished") == sum(len(line.get("arrivals", ())) for line in lines):
            process.stdin.close()
    await process.wait()
    stop.set()
    await engine
    return report


async def test_all_are_sent_and_judged(port: int):
    report = await replayed(port, [{"ttft_s": 1.0, "itl_s": 1.0}, {"arrivals": ARRIVALS}])

    assert (report["sent"], report["finished"], report["failed"]) == (6, 6, 0)
    assert 1 <= report["good"] < 6
    assert report["attainment"] == report["good"] / 6
    assert report["ttftP95S"] > 1.0


async def test_more_may_come_meanwhile(port: int):
    report = await replayed(port, [{"arrivals": ARRIVALS}, {"arrivals": ARRIVALS[:1]}])

    assert (report["sent"], report["finished"], report["failed"]) == (7, 7, 0)


async def test_what_fails_is_counted(port: int):
    report = await replayed(port, [{"arrivals": ARRIVALS}], model="nope")

    assert (report["sent"], report["failed"], report["good"], report["attainment"]) == (6, 6, 0, 0.0)
    assert report["failures"][0]["status"] == 404
