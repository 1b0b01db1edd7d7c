"""Asks routers which API keys they miss: only they see the Secrets, and the operator never does."""

import asyncio
import re
from collections.abc import Sequence

import httpx

from modelfleet import names

HTTP_OK = 200
TIMEOUT_S = 2.0
_MISSING = re.compile(
    r'^modelfleet_router_external_key_missing\{[^}]*model_tier="([^"]+)"[^}]*\} 1(\.0)?$', re.MULTILINE
)


class RouterReports:
    """Reports (see ports) read from the routers' metrics."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT_S)

    async def keys_missing(self, addresses: Sequence[str]) -> frozenset[str] | None:
        """ModelTiers whose key a router at one of these IP addresses misses; None when no router answers."""
        answers = await asyncio.gather(*map(self._missing, addresses))
        known = [answer for answer in answers if answer is not None]
        return frozenset().union(*known) if known else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _missing(self, address: str) -> frozenset[str] | None:
        host = f"[{address}]" if ":" in address else address
        try:
            answer = await self._client.get(f"http://{host}:{names.ROUTER_METRICS_PORT}/metrics")
        except httpx.HTTPError:
            return None
        if answer.status_code != HTTP_OK:
            return None
        return frozenset(found[0] for found in _MISSING.findall(answer.text))
