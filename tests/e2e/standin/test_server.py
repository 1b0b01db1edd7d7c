"""The stand-in answers as the recorded vLLM did, and takes as long as the simulator says."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.load.outcome import judge_plain, judge_stream
from e2e.standin.answers import HARD_LOGPROB_MAX, LOGPROB_MIN, logprob
from e2e.standin.flags import options
from e2e.standin.server import serve
from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.replica import Job, Replica

FIXTURES = Path(__file__).parents[2] / "fixtures" / "vllm-0.32.0"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 5}


@asynccontextmanager
async def standin(unused_port: int, *flags: str, **environ: str) -> AsyncIterator[httpx.AsyncClient]:
    """A running one and a client of it."""
    argv = ["serve", "/model/x", "--served-model-name=m", "--host=127.0.0.1", f"--port={unused_port}", *flags]
    stop = asyncio.Event()
    running = asyncio.create_task(serve(options(argv, environ), stop=stop))
    base = f"http://127.0.0.1:{unused_port}"
    async with httpx.AsyncClient(
        base_url=base, timeout=30, limits=httpx.Limits(max_connections=None)
    ) as client:
        await _listens(client)
        yield client
        stop.set()
        await running


async def _listens(client: httpx.AsyncClient) -> None:
    for _ in range(1000):
        try:
            await client.get("/health")
        except httpx.ConnectError:
            await asyncio.sleep(0.01)
        else:
            return
    pytest.fail("it does not listen")


@pytest.fixture
def port(unused_tcp_port: int) -> int:
    return unused_tcp_port


def keys(value: Any) -> Any:
    """The shape of a JSON value: its keys in order, and of lists the shape of the first item."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [keys(value[0])] if value else []
    return type(value).__name__


def recorded(name: str) -> bytes:
    return (FIXTURES / "recorded" / f"{name}.http").read_bytes().partition(b"\r\n\r\n")[2]


def events(body: bytes) -> list[dict[str, Any]]:
    """Those of a stream, chunked or not."""
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line[6:]) for line in lines]


@pytest.mark.parametrize(
    ("fields", "name"),
    [({}, "chat"), ({"logprobs": True}, "chat-logprobs-chosen")],
    ids=["plain", "with log probabilities"],
)
async def test_a_whole_answer_has_the_recorded_shape(port: int, fields: dict[str, Any], name: str):
    async with standin(port) as client:
        answer = await client.post("/v1/chat/completions", json={**QUESTION, **fields})

    assert keys(answer.json()) == keys(json.loads(recorded(name)))
    assert answer.json()["usage"]["completion_tokens"] == 5
    assert answer.json()["usage"]["prompt_tokens"] == 3
    assert judge_plain(answer.content)[0] == ""


@pytest.mark.parametrize(
    ("fields", "name"),
    [({}, "chat-stream"), ({"logprobs": True}, "chat-stream-logprobs-chosen")],
    ids=["plain", "with log probabilities"],
)
async def test_a_stream_has_the_recorded_events(port: int, fields: dict[str, Any], name: str):
    body = {**QUESTION, **fields, "stream": True, "stream_options": {"include_usage": True}}
    async with standin(port) as client:
        answer = await client.post("/v1/chat/completions", json=body)

    ours, theirs = events(answer.content), events(recorded(name))
    assert [keys(ours[at]) for at in (0, 1, -2, -1)] == [keys(theirs[at]) for at in (0, 1, -2, -1)]
    assert len(ours) == 1 + 5 + 1
    assert judge_stream(answer.content) == ("", " word" * 5)


async def test_what_it_refuses_it_refuses_as_recorded(port: int):
    async with standin(port) as client:
        unknown = await client.post("/v1/chat/completions", json={**QUESTION, "model": "nope"})
        long = await client.post("/v1/chat/completions", json={**QUESTION, "max_tokens": 999_999})
        bad = await client.post("/v1/chat/completions", content=b'{"model": ')

    assert (unknown.status_code, long.status_code, bad.status_code) == (404, 400, 400)
    assert keys(unknown.json()) == keys(json.loads(recorded("error-unknown-model")))
    assert unknown.json()["error"]["message"] == "The model `nope` does not exist. Valid aliases: m."


async def test_every_metric_is_one_of_the_recorded(port: int):
    """Names, types, labels and buckets; values are its own."""
    theirs = _families((FIXTURES / "metrics-loaded.txt").read_text())
    async with standin(port) as client:
        await client.post("/v1/chat/completions", json=QUESTION)
        ours = _families((await client.get("/metrics")).text)

    assert len(ours) >= 12
    for name, (kind, samples) in ours.items():
        assert theirs[name][0] == kind
        if name != "vllm:cache_config_info":  # which has many more labels
            assert samples <= theirs[name][1], name


def _families(text: str) -> dict[str, tuple[str, set[tuple[str, ...]]]]:
    return {
        family.name: (
            family.type,
            {(sample.name, *sorted(sample.labels), sample.labels.get("le", "")) for sample in family.samples},
        )
        for family in text_string_to_metric_families(text)
        if family.name.startswith("vllm:")
    }


async def test_the_counts_are_those_of_what_was_asked(port: int):
    async with standin(port) as client:
        for _ in range(3):
            await client.post("/v1/chat/completions", json=QUESTION)
        text = (await client.get("/metrics")).text
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("finished_reason", "length") == "length"
    }

    assert values["vllm:prompt_tokens_total"] == 9
    assert values["vllm:generation_tokens_total"] == 15
    assert values["vllm:request_success_total"] == 3
    assert values["vllm:time_to_first_token_seconds_count"] == 3
    assert values["vllm:inter_token_latency_seconds_count"] == 12
    assert values["vllm:num_requests_running"] == values["vllm:num_requests_waiting"] == 0


async def test_a_client_that_leaves_frees_its_place(port: int):
    """One place, and a long stream in it: who comes next is answered as soon as its client is gone."""
    async with standin(port, "--max-num-seqs=1") as client:
        body = {**QUESTION, "stream": True, "max_tokens": 8000}
        async with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            await anext(stream.aiter_raw())
        answer = await asyncio.wait_for(client.post("/v1/chat/completions", json=QUESTION), 5)

    assert answer.status_code == 200


async def test_nothing_listens_until_it_is_ready(port: int):
    began = time.monotonic()
    async with standin(port, STANDIN_START_S="0.3"):
        took = time.monotonic() - began

    assert took >= 0.3


async def test_what_runs_at_the_end_is_answered(port: int):
    argv = [
        "serve",
        "x",
        "--served-model-name=m",
        "--host=127.0.0.1",
        f"--port={port}",
        "--shutdown-timeout=20",
    ]
    stop = asyncio.Event()
    running = asyncio.create_task(serve(options(argv, {}), stop=stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await _listens(client)
        body = {**QUESTION, "stream": True, "max_tokens": 60}
        async with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            pieces = stream.aiter_raw()
            first = await anext(pieces)
            stop.set()
            late = await client.post("/v1/chat/completions", json=QUESTION)
            rest = b"".join([piece async for piece in pieces])
    await running

    assert late.status_code == 500
    assert judge_stream(first + rest)[0] == ""


def test_scores_are_spread_evenly():
    for word, most in {"question": 0.0, "hard": HARD_LOGPROB_MAX}.items():
        scores = [logprob(f"{word} {number}") for number in range(2000)]

        assert all(LOGPROB_MIN <= score <= most for score in scores)
        assert mean(scores) == pytest.approx((LOGPROB_MIN + most) / 2, abs=0.05)


SPEED = 1.5
LENGTHS = (200, 30)
TIMED = ("--max-num-seqs=4",)
PROFILE = {"STANDIN_PROFILE": "70b-h100-tp4"}


async def test_it_takes_as_long_as_the_simulator_says(port: int):
    """The same arrivals, nine tenths of what it can do: medians within 15 %."""
    random, at_s, arrivals = Random(7), 0.0, []
    for _ in range(40):
        at_s += random.expovariate(6.5)
        arrivals.append(at_s)
    async with standin(port, *TIMED, STANDIN_SPEED=str(SPEED), **PROFILE) as client:
        began_s = time.monotonic()
        live = await asyncio.gather(*(_timed(client, began_s + at_s / SPEED) for at_s in arrivals))

    simulated = _simulated(arrivals)
    for index, name in enumerate(("time to first token", "time between tokens")):
        ours, theirs = (median(pair[index] for pair in pairs) for pairs in (live, simulated))
        assert ours == pytest.approx(theirs, rel=0.15), name


async def _timed(client: httpx.AsyncClient, at_s: float) -> tuple[float, float]:
    """(time to first token, mean time between tokens) in seconds of the clock."""
    await asyncio.sleep(at_s - time.monotonic())
    prompt, output = LENGTHS
    body = {"model": "m", "messages": [{"role": "user", "content": "word " * prompt}], "max_tokens": output}
    start_s, first_s = time.monotonic(), 0.0
    async with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as stream:
        async for _ in stream.aiter_raw():
            first_s = first_s or time.monotonic()
    return first_s - start_s, (time.monotonic() - first_s) / (output - 1)


def _simulated(arrivals: list[float]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    prompt, output = LENGTHS

    def done(job: Job, at_s: float) -> None:
        found.append(((job.first_s - job.arrived_s) / SPEED, (at_s - job.first_s) / (output - 1) / SPEED))

    engine = options(["serve", "m", *TIMED], PROFILE).engine
    replica = Replica(engine, on_first=lambda _job, _at_s: None, on_done=done)
    for at_s in arrivals:
        while replica.due_s <= at_s:
            replica.step()
        replica.add(Job(prompt=prompt, cached=0, output=output), at_s)
    while replica.in_flight:
        replica.step()
    return found


def test_it_runs_what_the_operator_writes():
    argv = ["serve", "/model", "--served-model-name", "m", "--host", "0.0.0.0", "--port", "8000"]
    more = ["--max-num-seqs", "4", "--tensor-parallel-size", "1", "--shutdown-timeout", "30"]
    found = options([*argv, *more], {"STANDIN_PROFILE": "70b-h100-tp4", "STANDIN_START_S": "5"})

    assert (found.engine.step_s, found.engine.sequences_max) == (PROFILES["70b-h100-tp4"].step_s, 4)
    assert (found.start_s, found.drain_s) == (5.0, 30.0)


def test_it_says_what_it_does_not_know():
    with pytest.raises(SystemExit, match="8b-h100"):
        options(["serve", "m"], {"STANDIN_PROFILE": "nope"})
    with pytest.raises(SystemExit):
        options(["serve", "m", "--no-such-flag"], {})
