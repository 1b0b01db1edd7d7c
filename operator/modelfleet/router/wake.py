"""Calls the operators when a request needs a tier that sleeps.

Every operator is called and only the leader acts, so nothing here knows who leads.  A call is repeated as long as
requests wait: one that got lost, or met operators between two leaders, costs its repetition and nothing else.  When no
operator can be called at all, the one that leads still finds out by itself: it asks routers for what they hold.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import orjson

_log = logging.getLogger(__name__)

CALL_S = 1.0  # one call, from its connection to its answer
RESOLVE_S = 2.0
OPERATORS_MAX = 8  # behind one name
_AGAIN_S = (0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
_ROUNDS_MAX = 3  # where nobody waits: the request went elsewhere
_LINE_BYTES_MAX = 1024

_OUTCOMES = {202: "Accepted", 404: "NotAsleep", 409: "NotLeader"}
# The leader knows; there is nothing more to say.
_HEARD = frozenset({"Accepted", "NotAsleep"})


class Waker:
    """Calls for one ModelTier at a time each, for as long as somebody waits for it."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop, namespace: str, calls: Counter[str]) -> None:
        self.operators: tuple[str, ...] = ()  # host:port; a host may stand for several operators
        self._loop = loop
        self._namespace = namespace
        self._calls = calls  # by what came of them
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def call(self, model_tier: str, waits: Callable[[], bool]) -> None:
        """Have the tier woken, unless that is under way; repeated while `waits`."""
        if self.operators and model_tier not in self._under_way:
            task = self._loop.create_task(self._wake(model_tier, waits))
            self._under_way[model_tier] = task
            task.add_done_callback(lambda _: self._under_way.pop(model_tier, None))

    async def _wake(self, model_tier: str, waits: Callable[[], bool]) -> None:
        body = orjson.dumps({"namespace": self._namespace, "modelTier": model_tier})
        for number in count():
            outcomes = await self._round(_request(body))
            self._calls.update(outcomes)
            heard = bool(_HEARD & set(outcomes))
            if number == 0 and not heard:
                _log.warning(
                    "no leading operator took the call for a tier that sleeps",
                    extra={"model_tier": model_tier, "outcomes": sorted(outcomes)},
                )
            if not waits() and (heard or number + 1 >= _ROUNDS_MAX):
                return
            await asyncio.sleep(_AGAIN_S[min(number, len(_AGAIN_S) - 1)])

    async def _round(self, request: bytes) -> list[str]:
        """What came of one call to each operator."""
        found = await asyncio.gather(*(self._resolved(operator) for operator in self.operators))
        addresses = sorted({address for each in found for address in each})[:OPERATORS_MAX]
        if not addresses:
            return ["Unresolved"]
        return await asyncio.gather(*(_call(host, port, request) for host, port in addresses))

    async def _resolved(self, operator: str) -> Iterable[tuple[str, int]]:
        host, _, port = operator.rpartition(":")
        try:
            async with asyncio.timeout(RESOLVE_S):
                found: list[Any] = await self._loop.getaddrinfo(
                    host.strip("[]"), int(port), type=socket.SOCK_STREAM
                )
        except (OSError, UnicodeError, ValueError, TimeoutError):
            return ()
        return {(address[0], address[1]) for *_, address in found}


def _request(body: bytes) -> bytes:
    return (
        b"POST /wake HTTP/1.1\r\nhost: modelfleet\r\nconnection: close\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )


async def _call(host: str, port: int, request: bytes) -> str:
    """One call; what came of it, in one word."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(CALL_S):
            reader, writer = await asyncio.open_connection(host, port, limit=_LINE_BYTES_MAX)
            writer.write(request)
            line = await reader.readuntil(b"\r\n")
        return _OUTCOMES.get(int(line.split()[1]), "Refused")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "Unreachable"
    except (ValueError, IndexError):
        return "Refused"
    finally:
        if writer is not None:
            writer.close()
