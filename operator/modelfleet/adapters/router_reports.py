"""What only routers know, from their metrics pages: which APIs and keys they miss, how long a tier had no request, what it cost."""

import re
from collections.abc import Iterator, Mapping, Sequence

from modelfleet.adapters.pages import Page, Pages
from modelfleet.plan.snapshot import Quiet
from modelfleet.plan.spending import Counted

_R = "modelfleet_router_"
_MISSING, _USABLE, _DOWN = f"{_R}external_key_missing", f"{_R}api_keys", f"{_R}external_down"
_IDLE, _HELD = f"{_R}idle_seconds", f"{_R}requests_held"
_DOLLARS, _ATTEMPTS, _BEGAN = f"{_R}cost_dollars_total", f"{_R}attempts_total", "process_start_time_seconds"
SERIES = frozenset({_MISSING, _USABLE, _DOWN, _IDLE, _HELD, _DOLLARS, _ATTEMPTS, _BEGAN})
# Words end up in conditions, and whoever holds a router's address may say any.
_WORD = re.compile(r"[A-Za-z0-9]{1,40}")


class RouterReports:
    """Reports (see ports).  Addresses are IP addresses of routers."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def keys_missing(self, addresses: Sequence[str]) -> frozenset[str] | None:
        """ModelTiers whose key a router at one of these addresses misses; None when no router answers."""
        pages = await self._answered(addresses)
        missing = (labels for page in pages for labels, value in _told(page, _MISSING) if value == 1)
        return frozenset(labels["model_tier"] for labels in missing) if pages else None

    async def keys_usable(self, addresses: Sequence[str]) -> int | None:
        """The fewest API keys that a router at one of these addresses lets in; None when none asks for any."""
        usable = [
            int(value)
            for page in await self._answered(addresses)
            for labels, value in _told(page, _USABLE)
            if labels.get("state") == "usable" and 0 <= value < float("inf")
        ]
        return min(usable, default=None)

    async def outages(self, addresses: Sequence[str]) -> Mapping[str, str] | None:
        """External ModelTiers that every router which answers cannot ask, and the first one's word for why.

        None when no router answers.
        """
        told = [_outages(page) for page in await self._answered(addresses)]
        if not told:
            return None
        return {tier: why for tier, why in told[0].items() if all(tier in each for each in told)}

    async def quiet(self, addresses: Sequence[str]) -> Mapping[str, Mapping[str, Quiet]]:
        """By address and ModelTier; a router that does not answer is absent."""
        pages = await self._pages.of_routers(addresses)
        found = zip(addresses, pages, strict=True)
        return {address: _quiet(page) for address, page in found if page is not None}

    async def counted(self, addresses: Sequence[str]) -> Mapping[str, Counted]:
        """Dollars and attempts of each router process; one that does not answer is absent."""
        pages = await self._pages.of_routers(addresses)
        found = zip(addresses, pages, strict=True)
        return {address: _counted(page) for address, page in found if page is not None}

    async def _answered(self, addresses: Sequence[str]) -> list[Page]:
        return [page for page in await self._pages.of_routers(addresses) if page is not None]


def _counted(page: Page) -> Counted:
    sums: dict[str, dict[tuple[str, str], float]] = {_DOLLARS: {}, _ATTEMPTS: {}}
    for series, value in page.samples.items():
        if (found := sums.get(series.name)) is not None and {"cascade", "model_tier"} <= series.labels.keys():
            key = series.labels["cascade"], series.labels["model_tier"]
            found[key] = found.get(key, 0.0) + value
    began_s = next((value for series, value in page.samples.items() if series.name == _BEGAN), 0.0)
    return Counted.of(began_s, sums[_DOLLARS], sums[_ATTEMPTS])


def _quiet(page: Page) -> dict[str, Quiet]:
    held = {labels["model_tier"]: value for labels, value in _told(page, _HELD)}
    return {
        labels["model_tier"]: Quiet(for_s=idle_s, held=held.get(labels["model_tier"], 0.0))
        for labels, idle_s in _told(page, _IDLE)
    }


def _outages(page: Page) -> dict[str, str]:
    return {
        labels["model_tier"]: labels["reason"]
        for labels, value in _told(page, _DOWN)
        if value == 1 and _WORD.fullmatch(labels.get("reason", ""))
    }


def _told(page: Page, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
    for series, value in page.samples.items():
        if series.name == name and (name == _USABLE or "model_tier" in series.labels):
            yield series.labels, value
