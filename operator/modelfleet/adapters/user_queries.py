"""Asks Prometheus what users wrote into PromQL metrics: each query by itself, so one that is wrong costs no other.

Everything is bounded: how many, how many at once, how long each and all together may take, how long an answer may be.
"""

import asyncio
import ssl
from collections.abc import Callable, Collection, Mapping

import httpx

from modelfleet.adapters.prometheus import Observer, headers
from modelfleet.api.fleet_settings import PrometheusSettings
from modelfleet.api.meta import seconds
from modelfleet.errors import MetricsError
from modelfleet.plan.asked import Answer, failed, read, within_bounds

_AT_ONCE = 8
_LOOK_TIMEOUTS = 2.0  # how long all of them may take, in timeouts of one
_BODY_BYTES_MAX = 262_144
_PORT_MAX = 65_535
_UNSET = Answer(problem="the operator's settings name no prometheus.url")
_LATE = Answer(problem="Prometheus took too long")
_UNKNOWN = Answer(problem="Prometheus answered in an unknown shape")


class UserQueries:
    """Settings are asked for at every look, so they may change at any time."""

    def __init__(
        self,
        settings: Callable[[], PrometheusSettings],
        *,
        observe_query: Observer = lambda _name, _seconds: None,
    ) -> None:
        self._settings = settings
        self._observe_query = observe_query

    async def ask(self, queries: Collection[str]) -> Mapping[str, Answer]:
        """An answer to each of them."""
        settings = self._settings()
        if not queries or not settings.url:
            return dict.fromkeys(queries, _UNSET)
        asked, answers = within_bounds(queries)
        answers |= dict.fromkeys(asked, _LATE)
        timeout_s = seconds(settings.timeout)
        try:
            client = _client(settings, timeout_s)
        except (MetricsError, httpx.InvalidURL, OSError, ValueError) as err:
            return answers | dict.fromkeys(asked, failed(str(err)))
        async with client:
            places = asyncio.Semaphore(_AT_ONCE)

            async def one(query: str) -> None:
                async with places:
                    answers[query] = await self._one(client, query)

            try:
                async with asyncio.timeout(timeout_s * _LOOK_TIMEOUTS), asyncio.TaskGroup() as group:
                    for query in asked:
                        group.create_task(one(query))
            except TimeoutError:
                pass  # those that came back count
        return answers

    async def _one(self, client: httpx.AsyncClient, query: str) -> Answer:
        timer = asyncio.get_running_loop()
        began_s = timer.time()
        try:
            answer = await client.get("/api/v1/query", params={"query": query})
            if len(answer.content) > _BODY_BYTES_MAX:
                return Answer(problem="it gives far more than one number: put sum(...) or max(...) around it")
            return read(answer.json())
        except httpx.TimeoutException:
            return _LATE
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as err:  # a refused certificate is an OSError
            return failed(f"Prometheus cannot be asked: {err}")
        except (KeyError, TypeError, ValueError):
            return _UNKNOWN
        finally:
            self._observe_query("user", timer.time() - began_s)


def _client(settings: PrometheusSettings, timeout_s: float) -> httpx.AsyncClient:
    url = httpx.URL((settings.url or "").rstrip("/"))
    if (url.port or 0) > _PORT_MAX:  # which the library below takes for a bug of its own
        raise ValueError(f"{url} names no port")
    return httpx.AsyncClient(
        base_url=url,
        headers=headers(settings),
        timeout=timeout_s,
        verify=_tls(settings),
    )


def _tls(settings: PrometheusSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.client_cert_file:
        context.load_cert_chain(settings.client_cert_file, settings.client_key_file)
    return context
