"""Spans of requests and their attempts, sent to a collector by OTLP/HTTP.

The OpenTelemetry library is loaded when the settings first name an endpoint, in a thread, as that takes a good part
of a second.  Its exporter has a thread of its own and a queue with an end: what the collector does not take is lost.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from modelfleet.api.route_table import CascadeRoute, TierRoute
from modelfleet.route import spans, trace_context
from modelfleet.route.account import End
from modelfleet.route.journey import Journey
from modelfleet.route.trace_context import Caller
from modelfleet.router.headers import forwarded
from modelfleet.router.message import Request

_log = logging.getLogger(__name__)

EXPORT_EVERY_S = 1.0
EXPORT_TIMEOUT_S = 10.0
_PERCENT = 100


class Tracing:
    """Follows the settings: makes what sends spans, and decides which requests are traced."""

    __slots__ = ("_loop", "_percent", "_provider", "_spin", "_wanted", "tracer")

    def __init__(self, *, loop: asyncio.AbstractEventLoop, spin: Callable[[], float]) -> None:
        self._loop = loop
        self._spin = spin  # uniform in [0, 1)
        self._percent = 0
        self._wanted = ""  # the endpoint
        self._provider: Any = None
        self.tracer: Any = None  # None: nothing is traced

    def follow(self, endpoint: str, percent: int) -> None:
        """Send spans of so many requests there from now on; an empty endpoint ends it."""
        self._percent = percent
        if endpoint == self._wanted:
            return
        self._wanted = endpoint
        self.tracer = None
        if self._provider is not None:
            self._loop.run_in_executor(None, self._provider.shutdown)
            self._provider = None
        if endpoint:
            made = self._loop.run_in_executor(None, _provider, endpoint)
            made.add_done_callback(lambda done: self._made(endpoint, done))

    def _made(self, endpoint: str, done: "asyncio.Future[Any]") -> None:
        if done.cancelled():
            return
        err = done.exception()
        if isinstance(err, ImportError):
            _log.error(
                "tracing is set, and OpenTelemetry is not installed: pip install 'modelfleet[tracing]'"
            )
        elif err is not None:
            _log.error("tracing could not begin", extra={"error": str(err)})
        elif endpoint != self._wanted:
            self._loop.run_in_executor(None, done.result().shutdown)  # the settings have changed meanwhile
        else:
            self._provider = done.result()
            self.tracer = self._provider.get_tracer("modelfleet.router")
            _log.info("tracing", extra={"percent": self._percent})

    def begin(self, request: Request, route: CascadeRoute, fields: Mapping[str, Any]) -> "Trace | None":
        """The trace of a request, where it is to be traced: as its caller says, or else by lot."""
        caller = trace_context.caller(request.headers)
        wanted = caller.sampled if caller is not None else self._spin() * _PERCENT < self._percent
        return Trace(self.tracer, request, route, fields, caller) if wanted else None

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


class Trace:
    """The spans of one request: its own, and one for every attempt."""

    __slots__ = (
        "_attempt",
        "_context",
        "_ended_ns",
        "_fields",
        "_lines",
        "_path",
        "_span",
        "_tracer",
        "_word",
    )

    def __init__(
        self,
        tracer: Any,
        request: Request,
        route: CascadeRoute,
        fields: Mapping[str, Any],
        caller: Caller | None,
    ) -> None:
        from opentelemetry import trace as api  # noqa: PLC0415 - loaded only when used

        parent = None
        if caller is not None:
            context = api.SpanContext(
                caller.trace_id, caller.span_id, is_remote=True, trace_flags=api.TraceFlags(1)
            )
            parent = api.set_span_in_context(api.NonRecordingSpan(context))
        self._tracer = tracer
        self._path = request.path
        self._fields = fields
        self._lines = forwarded([field for field in request.headers if field[0] != b"traceparent"])
        name = f"POST {request.path.decode('latin-1')}"
        attributes = spans.request(request.path, route)
        self._span = tracer.start_span(name, parent, api.SpanKind.SERVER, attributes)
        self._context = api.set_span_in_context(self._span)
        self._attempt: Any = None
        self._word = ""
        self._ended_ns = 0

    def began(self, tier: TierRoute, host: str, port: int) -> bytes:
        """An attempt begins.  Gives the header lines that the engine is to see."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        self._close(None)
        self._word = ""
        attributes = spans.attempt(self._path, tier, self._fields, host=host, port=port)
        name = f"{spans.operation(self._path)} {tier.served_name}"
        self._attempt = self._tracer.start_span(name, self._context, SpanKind.CLIENT, attributes)
        at = self._attempt.get_span_context()
        return self._lines + trace_context.line(at.trace_id, at.span_id)

    def left(self, word: str, journey: Journey) -> None:
        """The attempt ended so.  Its tokens may be known a little later."""
        self._word = word
        self._ended_ns = time.time_ns()
        if word == "Escalated" and journey.spent:
            self._close((journey.spent[-1].prompt, journey.spent[-1].completion))

    def over(self, end: End, journey: Journey) -> None:
        """The request ended so."""
        self._close(journey.used if self._word == "Answered" else None)
        self._span.set_attributes(spans.answer(end, journey))
        if end.failed:
            self._fail(self._span)
        self._span.end()

    def _close(self, used: tuple[int | None, int] | None) -> None:
        span, self._attempt = self._attempt, None
        if span is not None and self._word:
            told = spans.outcome(self._word, used)
            span.set_attributes(told)
            if "error.type" in told:
                self._fail(span)
            span.end(self._ended_ns)

    @staticmethod
    def _fail(span: Any) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415

        span.set_status(StatusCode.ERROR)


def _provider(endpoint: str) -> Any:
    """What makes spans and sends them.  Raises ImportError where the library is not installed."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

    resource = Resource.create(
        {"service.name": "modelfleet-router", "service.instance.id": os.environ.get("HOSTNAME", "")}
    )
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_S * 1000))
    return provider
