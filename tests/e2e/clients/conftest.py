import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from e2e.clients.target import Target
from modelfleet.api.route_table import AcceptRule
from tests.e2e.clients.recorded import vllm
from tests.router.rig import cascade, router, tier

# What a bigger model would have said, where the recorded one was too small.
BETTER = ("chat-tool", "chat-tool-required", "chat-tool-stream", "chat-schema")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the router really runs on."""
    return {"uvloop": uvloop.new_event_loop}


async def _serve(tell: "asyncio.Future[int]", done: asyncio.Event, *, judged: bool) -> None:
    rule = AcceptRule("MeanLogprob", -100.0) if judged else None
    async with vllm(*BETTER) as engine:
        tiers = [tier("small", weight=1000, accept=rule, engine="vllm"), tier("big", engine="vllm")]
        ports = {"small-svc": [engine.port], "big-svc": [engine.port]}
        async with router(cascade(*tiers), ports) as rig:
            tell.set_result(rig.port)
            await done.wait()


@pytest.fixture(scope="package", params=["passed through", "judged"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """A router before the stand-in, in a thread of its own: the clients block."""
    loop = uvloop.new_event_loop()
    done, ready = asyncio.Event(), threading.Event()
    port: asyncio.Future[int] = loop.create_future()
    port.add_done_callback(lambda _: ready.set())
    judged = request.param == "judged"
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(port, done, judged=judged),))
    thread.start()
    assert ready.wait(10.0)
    yield Target(f"http://127.0.0.1:{port.result()}/v1", "chat", timeout_s=20.0)
    loop.call_soon_threadsafe(done.set)
    thread.join(10.0)
    loop.close()
