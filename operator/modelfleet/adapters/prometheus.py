"""Reads the fleet's load from Prometheus; the only file that imports its client.

The client is synchronous and waits for ever by default, so all queries of one look run in one thread, each with
a timeout, and a look that overstays is abandoned.  Nothing is retried here: the next tick asks again.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from modelfleet.adapters import queries
from modelfleet.api.fleet_settings import PrometheusSettings
from modelfleet.api.meta import seconds
from modelfleet.errors import MetricsError
from modelfleet.plan.load import FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name

_NAMESPACE_LABEL = "fleet_namespace"
_MALFORMED = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
)  # what reading JSON of another shape raises
_SLACK_S = 1.0  # how much longer than one query's timeout a whole look may take, per query
_ERROR_CHARS_MAX = 300  # a proxy in between may answer with a whole page

Observer = Callable[[str, float], None]


class PrometheusMetrics:
    """The load of the fleet, by PromQL.  Settings are asked for at every look, so they may change at any time.

    `observe_query(name, seconds)` is told how long each query took.
    """

    def __init__(
        self,
        settings: Callable[[], PrometheusSettings],
        *,
        observe_query: Observer = lambda _name, _seconds: None,
    ) -> None:
        self._settings = settings
        self._observe_query = observe_query
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prometheus")
        self._look: Future[FleetLoad] | None = None

    @property
    def configured(self) -> bool:
        """Whether the settings name a Prometheus at all."""
        return bool(self._settings().url)

    async def load(self, percentiles: Collection[int]) -> FleetLoad:
        """One look, with TTFT at these percentiles.  Raises MetricsError when anything at all is wrong with it."""
        if self._look is not None and not self._look.done():
            raise MetricsError("the last look at Prometheus has not come back yet")
        settings = self._settings()
        self._look = self._thread.submit(self._load, settings, frozenset(percentiles))
        limit_s = seconds(settings.timeout) + _SLACK_S * (len(_FIXED) + len(percentiles))
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._look)), limit_s)
        except TimeoutError as err:
            raise MetricsError(f"Prometheus took more than {limit_s:g} s") from err

    def close(self) -> None:
        """Take no more looks.  A running one ends with its timeout."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _load(self, settings: PrometheusSettings, percentiles: frozenset[int]) -> FleetLoad:
        with _session(settings) as session:
            client = _client(settings, session)
            answers = {name: self._ask(client, name, query) for name, query in _FIXED.items()}
            quantiles = {p: self._ask(client, "ttft", queries.ttft(p)) for p in sorted(percentiles)}
        try:
            return _fleet_load(answers, quantiles)
        except _MALFORMED as err:
            raise MetricsError(f"Prometheus answered in an unknown shape: {err!r}") from err

    def _ask(self, client: PrometheusConnect, name: str, query: str) -> list[dict[str, Any]]:
        started_s = time.perf_counter()
        try:
            answer: list[dict[str, Any]] = client.custom_query(query)
        except (requests.RequestException, PrometheusApiClientException, OSError, *_MALFORMED) as err:
            raise MetricsError(f"query {name} failed: {str(err)[:_ERROR_CHARS_MAX]}") from err
        self._observe_query(name, time.perf_counter() - started_s)
        return answer


_FIXED = {
    "in_flight": queries.IN_FLIGHT,
    "age": queries.AGE,
    "routers": queries.ROUTERS,
    "first_tokens": queries.FIRST_TOKENS,
    "started": queries.STARTED,
    "answered": queries.ANSWERED,
}


def _client(settings: PrometheusSettings, session: requests.Session) -> PrometheusConnect:
    try:
        return PrometheusConnect(
            url=(settings.url or "").rstrip("/"),
            headers=_headers(settings),
            session=session,
            retry=Retry(total=0),
            timeout=seconds(settings.timeout),
        )
    except ValueError as err:
        raise MetricsError(f"the address of Prometheus is none: {err}") from err


def _session(settings: PrometheusSettings) -> requests.Session:
    session = requests.Session()
    session.verify = settings.ca_file or True
    if settings.client_cert_file:
        session.cert = (
            (settings.client_cert_file, settings.client_key_file)
            if settings.client_key_file
            else settings.client_cert_file
        )
    return session


def _headers(settings: PrometheusSettings) -> dict[str, str]:
    headers = dict(settings.headers)
    if settings.bearer_token_file:
        # Read each time: a projected token is replaced about once an hour.
        try:
            token = Path(settings.bearer_token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise MetricsError(f"the bearer token for Prometheus cannot be read: {err}") from err
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _fleet_load(
    answers: Mapping[str, list[dict[str, Any]]], quantiles: Mapping[int, list[dict[str, Any]]]
) -> FleetLoad:
    in_flight, ages, routers, first_tokens = (
        _by_tier(answers[name]) for name in ("in_flight", "age", "routers", "first_tokens")
    )
    ttft = {percentile: _by_tier(answer) for percentile, answer in quantiles.items()}
    return FleetLoad(
        tiers={
            name: TierLoad(
                in_flight=in_flight.get(name),
                age_s=ages.get(name),
                routers=int(routers.get(name, 0)),
                first_tokens_per_s=first_tokens.get(name),
                ttft_s={p: values[name] for p, values in ttft.items() if name in values},
            )
            for name in in_flight.keys() | first_tokens.keys()
        },
        started=_by_step(answers["started"]),
        answered=_by_step(answers["answered"]),
    )


def _by_tier(answer: list[dict[str, Any]]) -> dict[Name, float]:
    return {
        Name(series["metric"][_NAMESPACE_LABEL], series["metric"]["model_tier"]): _value(series)
        for series in answer
        if {_NAMESPACE_LABEL, "model_tier"} <= series["metric"].keys()
    }


def _by_step(answer: list[dict[str, Any]]) -> dict[Name, dict[str, float]]:
    counts: dict[Name, dict[str, float]] = {}
    for series in answer:
        labels = series["metric"]
        if {_NAMESPACE_LABEL, "cascade", "tier"} <= labels.keys():
            counts.setdefault(Name(labels[_NAMESPACE_LABEL], labels["cascade"]), {})[labels["tier"]] = _value(
                series
            )
    return counts


def _value(series: Mapping[str, Any]) -> float:
    _timestamp, value = series["value"]
    return float(value)
