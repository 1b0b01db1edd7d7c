import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the router really runs on: transports differ in what they promise."""
    return {"uvloop": uvloop.new_event_loop}
