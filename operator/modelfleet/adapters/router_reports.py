"""Asks routers what only they know: which API keys they miss, and how long a tier has had no request.

They are asked themselves, and not a metrics store: a cluster may have none, and what it has is a scrape old.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence

import httpx

from modelfleet import names
from modelfleet.plan.snapshot import Quiet

HTTP_OK = 200
TIMEOUT_S = 2.0
_NUMBER = r"([0-9.e+-]{1,32})"
_MISSING = re.compile(
    r'^modelfleet_router_external_key_missing\{[^}]*model_tier="([^"]+)"[^}]*\} 1(\.0)?$', re.MULTILINE
)
_IDLE = re.compile(
    rf'^modelfleet_router_idle_seconds\{{[^}}]*model_tier="([^"]+)"[^}}]*\}} {_NUMBER}$', re.MULTILINE
)
_HELD = re.compile(
    rf'^modelfleet_router_requests_held\{{[^}}]*model_tier="([^"]+)"[^}}]*\}} {_NUMBER}$', re.MULTILINE
)
_DOWN = re.compile(
    r'^modelfleet_router_external_down\{[^}]*model_tier="([^"]+)",reason="([A-Za-z0-9]{1,40})"\} 1(?:\.0)?$',
    re.MULTILINE,
)

_USABLE = re.compile(r'^modelfleet_router_api_keys\{state="usable"\} ([0-9]{1,9}(?:\.0)?)$', re.MULTILINE)


class RouterReports:
    """Reports (see ports) read from the routers' metrics."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT_S)

    async def keys_missing(self, addresses: Sequence[str]) -> frozenset[str] | None:
        """ModelTiers whose key a router at one of these IP addresses misses; None when no router answers."""
        answers = await asyncio.gather(*map(self._metrics, addresses))
        known = [_missing(text) for text in answers if text is not None]
        return frozenset().union(*known) if known else None

    async def keys_usable(self, addresses: Sequence[str]) -> int | None:
        """The fewest API keys that a router at one of these addresses lets in; None when none asks for any."""
        answers = await asyncio.gather(*map(self._metrics, addresses))
        found = [_USABLE.search(text) for text in answers if text is not None]
        return min((int(float(each[1])) for each in found if each), default=None)

    async def outages(self, addresses: Sequence[str]) -> Mapping[str, str] | None:
        """External ModelTiers that every router which answers cannot ask, and the first one's word for why.

        None when no router answers.
        """
        answers = await asyncio.gather(*map(self._metrics, addresses))
        told = [dict(_DOWN.findall(text)) for text in answers if text is not None]
        if not told:
            return None
        return {tier: why for tier, why in told[0].items() if all(tier in each for each in told)}

    async def quiet(self, addresses: Sequence[str]) -> Mapping[str, Mapping[str, Quiet]]:
        """By address and ModelTier; a router that does not answer is absent."""
        answers = await asyncio.gather(*map(self._metrics, addresses))
        found = zip(addresses, answers, strict=True)
        return {address: _quiet(text) for address, text in found if text is not None}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _metrics(self, address: str) -> str | None:
        host = f"[{address}]" if ":" in address else address
        try:
            answer = await self._client.get(f"http://{host}:{names.ROUTER_METRICS_PORT}/metrics")
        except httpx.HTTPError:
            return None
        return answer.text if answer.status_code == HTTP_OK else None


def _missing(text: str) -> frozenset[str]:
    return frozenset(found[0] for found in _MISSING.findall(text))


def _quiet(text: str) -> dict[str, Quiet]:
    held = _numbers(_HELD, text)
    return {
        tier: Quiet(for_s=idle_s, held=held.get(tier, 0.0)) for tier, idle_s in _numbers(_IDLE, text).items()
    }


def _numbers(series: re.Pattern[str], text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for tier, value in series.findall(text):
        try:
            found[tier] = float(value)
        except ValueError:
            continue
    return found
