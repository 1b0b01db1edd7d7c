"""A cascade of stand-ins behind the real router: doubtful answers move on, sure ones come from the small tier."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from e2e.load.outcome import judge_plain, judge_stream
from e2e.standin.answers import logprob
from e2e.standin.flags import options
from e2e.standin.server import serve
from modelfleet.api.route_table import AcceptRule
from tests.router.rig import cascade, post, router, tier

THRESHOLD = -1.6  # a fifth of all answers are below
QUESTIONS = [f"question {number}" for number in range(60)]


@asynccontextmanager
async def running(port: int, name: str) -> AsyncIterator[None]:
    argv = ["serve", "x", f"--served-model-name={name}-served", "--host=127.0.0.1", f"--port={port}"]
    stop = asyncio.Event()
    engine = asyncio.create_task(serve(options(argv, {}), stop=stop))
    yield
    stop.set()
    await engine


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_who_answers_is_told_by_the_question(
    unused_tcp_port_factory: Callable[[], int], *, stream: bool
):
    small, big = unused_tcp_port_factory(), unused_tcp_port_factory()
    rule = AcceptRule("MeanLogprob", THRESHOLD)
    route = cascade(tier("small", weight=1000, accept=rule, engine="vllm"), tier("big", engine="vllm"))
    async with (
        running(small, "small"),
        running(big, "big"),
        router(route, {"small-svc": [small], "big-svc": [big]}) as rig,
    ):
        await _listens(small)
        await _listens(big)
        asks = [
            post(messages=[{"role": "user", "content": question}], stream=stream, max_tokens=40)
            for question in QUESTIONS
        ]
        answers = await asyncio.gather(*(rig.ask(ask) for ask in asks))

    judge = judge_stream if stream else judge_plain
    assert [judge(answer.body)[0] for answer in answers] == [""] * len(QUESTIONS)
    served = ["big" if logprob(question) < THRESHOLD else "small" for question in QUESTIONS]
    assert [answer.headers["x-modelfleet-tier"] for answer in answers] == served
    assert 5 < served.count("big") < 20


async def _listens(port: int) -> None:
    async def reached() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    for _ in range(1000):
        if await reached():
            return
        await asyncio.sleep(0.01)
