"""POST /wake: a router holds a request for a tier that runs nothing.

Anybody who reaches the port may call, so a call can do no harm: it says one name, and what may follow from it is one
replica of a tier that a Cascade sends requests to.  Its size and how often it may come are bounded.
"""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

BODY_BYTES_MAX = 1024  # two names
BODY_S_MAX = 2.0
CALLS_PER_S = 50.0  # of all routers together; each calls every few seconds for each tier it waits for
BURST = 200.0

_STATUS = {
    "Accepted": HTTPStatus.ACCEPTED,
    "NotAsleep": HTTPStatus.NOT_FOUND,
    "NotLeader": HTTPStatus.CONFLICT,
}


class WakeCalls:
    """Hands calls on to `wake(namespace, model_tier)`, which says in one word what came of it."""

    def __init__(self, wake: Callable[[str, str], str], now_s: Callable[[], float]) -> None:
        self._wake = wake
        self._now_s = now_s
        self._left = BURST
        self._filled_s = now_s()

    async def answer(self, request: web.Request) -> web.Response:
        """202: the tier will be woken; 404: nothing of that name sleeps; 409: another operator leads."""
        if not self._take():
            return _told(HTTPStatus.TOO_MANY_REQUESTS, "TooOften", {"Retry-After": "1"})
        try:
            async with asyncio.timeout(BODY_S_MAX):
                body = json.loads(await request.content.readexactly(_length(request)))
            names = [body["namespace"], body["modelTier"]]
        except (ValueError, KeyError, TypeError, EOFError, TimeoutError, RecursionError):
            return _told(HTTPStatus.BAD_REQUEST, "BadCall")
        if not all(isinstance(name, str) for name in names):
            return _told(HTTPStatus.BAD_REQUEST, "BadCall")
        outcome = self._wake(*names)
        return _told(_STATUS[outcome], outcome)

    def _take(self) -> bool:
        now_s = self._now_s()
        self._left = min(BURST, self._left + CALLS_PER_S * (now_s - self._filled_s))
        self._filled_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _length(request: web.Request) -> int:
    """The length that the caller says.  Raises ValueError for none, or more than a call needs."""
    if request.content_length is None or request.content_length > BODY_BYTES_MAX:
        raise ValueError("a call says its length, and is short")
    return request.content_length


def _told(status: HTTPStatus, outcome: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"outcome": outcome}, status=status, headers=headers)
