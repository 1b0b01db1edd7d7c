"""Reads the fleet's load from Prometheus; the only file that imports its client.

The client is synchronous and waits for ever by default, so all queries of one look run in one thread, each with
a timeout, and a look that overstays is abandoned.  Nothing is retried here: the next tick asks again.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from modelfleet.adapters import queries
from modelfleet.adapters.fleet_load import Key, fleet_load
from modelfleet.api.fleet_settings import PrometheusSettings
from modelfleet.api.meta import seconds
from modelfleet.errors import MetricsError
from modelfleet.plan.load import INTERVAL_S, FleetLoad
from modelfleet.plan.targets import Targets

_MALFORMED = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
)  # what reading JSON of another shape raises
_LOOK_TIMEOUTS = 2.0  # how long a whole look may take, in timeouts of one query
_EPSILON_S = 0.5  # steps of a matrix are equal but for rounding
_ERROR_CHARS_MAX = 300  # a proxy in between may answer with a whole page

Observer = Callable[[str, float], None]


class PrometheusMetrics:
    """The load of the fleet, by PromQL.  Settings are asked for at every look, so they may change at any time.

    `targets` says whose engine a pod is; `observe_query(group, seconds)` is told how long each query took.
    """

    def __init__(
        self,
        settings: Callable[[], PrometheusSettings],
        targets: Callable[[], Targets],
        *,
        observe_query: Observer = lambda _name, _seconds: None,
    ) -> None:
        self._settings = settings
        self._targets = targets
        self._observe_query = observe_query
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prometheus")
        self._look: Future[FleetLoad] | None = None

    @property
    def configured(self) -> bool:
        """Whether the settings name a Prometheus at all."""
        return bool(self._settings().url)

    async def load(self, *, since_s: float = INTERVAL_S) -> FleetLoad:
        """One look; the last one was `since_s` ago.  Raises MetricsError when anything at all is wrong with it."""
        if self._look is not None and not self._look.done():
            raise MetricsError("the last look at Prometheus has not come back yet")
        settings = self._settings()
        self._look = self._thread.submit(self._load, settings, self._targets(), since_s)
        look = asyncio.wrap_future(self._look)
        # What comes of a look that nobody waits for any more is of no interest, a failure either.
        look.add_done_callback(lambda done: done.cancelled() or done.exception())
        limit_s = seconds(settings.timeout) * _LOOK_TIMEOUTS
        try:
            return await asyncio.wait_for(asyncio.shield(look), limit_s)
        except TimeoutError as err:
            raise MetricsError(f"Prometheus took more than {limit_s:g} s") from err

    def close(self) -> None:
        """Take no more looks.  A running one ends with its timeout."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _load(self, settings: PrometheusSettings, targets: Targets, since_s: float) -> FleetLoad:
        with _session(settings) as session:
            client = _client(settings, session)
            groups = queries.groups(since_s=since_s)
            answers = [self._ask(client, group, query) for group, query in groups.items()]
            counts = self._ask(client, queries.COUNTS.name, queries.counts())
        try:
            rows = _rows(series for answer in answers for series in answer)
            arrivals = {_key(queries.COUNTS, each["metric"]): _lately(each["values"]) for each in counts}
            return fleet_load(rows, arrivals, targets=targets, source="Prometheus", since_s=since_s)
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


def _client(settings: PrometheusSettings, session: requests.Session) -> PrometheusConnect:
    try:
        return PrometheusConnect(
            url=(settings.url or "").rstrip("/"),
            headers=headers(settings),
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


def headers(settings: PrometheusSettings) -> dict[str, str]:
    """What the settings have every request carry.  Raises MetricsError when the token cannot be read."""
    sent = dict(settings.headers)
    if settings.bearer_token_file:
        # Read each time: a projected token is replaced about once an hour.
        try:
            token = Path(settings.bearer_token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise MetricsError(f"the bearer token for Prometheus cannot be read: {err}") from err
        sent["Authorization"] = f"Bearer {token}"
    return sent


_BY_NAME = {row.name: row for row in queries.TABLE}


def _rows(answer: Iterable[Mapping[str, Any]]) -> dict[str, dict[Key, float]]:
    found: dict[str, dict[Key, float]] = {}
    for series in answer:
        _timestamp, text = series["value"]
        labels, value = series["metric"], float(text)
        row = _BY_NAME[labels[queries.QUERY_LABEL]]
        # Engines' labels are those of a scrape, and which of them there are is the user's choice.
        ours = row.by == queries.ENGINE or all(label in labels for label in row.by)
        if ours and math.isfinite(value):  # no number is no sample
            found.setdefault(row.name, {})[_key(row, labels)] = value
    return found


def _key(row: queries.Query, labels: Mapping[str, str]) -> Key:
    return tuple(labels.get(label, "") for label in row.by)


def _lately(points: Sequence[tuple[float, str]]) -> list[float]:
    """The values back to the first gap: what nobody saw is no zero."""
    values: list[float] = []
    due_s: float | None = None
    for at_s, text in reversed(points):
        value = float(text)
        if not math.isfinite(value) or (due_s is not None and abs(at_s - due_s) > _EPSILON_S):
            break
        values.append(value)
        due_s = at_s - INTERVAL_S
    return values[::-1]
