"""Spans as they arrive at a collector, and what they must not say."""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from modelfleet.api.route_table import AcceptRule, RouterRules
from modelfleet.router.recorder import Recorder
from modelfleet.router.tracing import Tracing
from tests.router.rig import (
    GOOD,
    GOOD_STREAM,
    SSE_HEAD,
    Act,
    Engine,
    Rig,
    cascade,
    chunk,
    engines,
    post,
    raw,
    reply,
    router,
    stream,
    tier,
    token,
    until,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass
class Collector:
    """Takes spans by OTLP over HTTP."""

    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    raw: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self._take(gzip.decompress(body) if b"content-encoding: gzip" in head else body)
                self.paths.add(head.split()[1].decode())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _take(self, body: bytes) -> None:
        self.raw.append(body)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in of_resource.resource.attributes}
            self.services.add(named["service.name"])
            for scope in of_resource.scope_spans:
                self.spans += scope.spans

    async def until(self, count: int) -> list[Span]:
        """All spans, once there are so many; the request's own first, then its attempts in their order."""
        await until(lambda: len(self.spans) >= count)
        return sorted(
            self.spans, key=lambda span: (span.kind != Span.SPAN_KIND_SERVER, span.start_time_unix_nano)
        )


@asynccontextmanager
async def traced(
    *acts: Sequence[Act], percent: int = 100, spin: float = 0.0, **more: Any
) -> AsyncIterator[tuple[Rig, list[Engine], Collector]]:
    """A router over as many tiers as there are lists of acts, which sends its spans to a collector."""
    collector = Collector()
    server = await asyncio.start_server(collector.serve, "127.0.0.1", 0)
    collector.port = server.sockets[0].getsockname()[1]
    tracing = Tracing(loop=asyncio.get_running_loop(), spin=lambda: spin)
    rules = RouterRules(tracing_endpoint=f"http://127.0.0.1:{collector.port}/", tracing_percent=percent)
    names = ("small", "big")[: len(acts)]
    async with engines(*acts) as found:
        rule = more.pop("rule", None)
        tiers = [
            tier(name, weight=0 if place else 1000, accept=None if name == names[-1] else rule, engine="vllm")
            for place, name in enumerate(names)
        ]
        ports = {f"{name}-svc": [engine.port] for name, engine in zip(names, found, strict=True)}
        told = Recorder(None, tracing, spin=lambda: 0.0)
        async with router(cascade(*tiers, **more), ports, rules=rules, recorder=told) as rig:
            await until(lambda: tracing.tracer is not None)
            yield rig, found, collector
    await asyncio.to_thread(tracing.close)
    server.close()


def _attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


async def test_answer_and_its_attempt():
    async with traced([reply(GOOD)]) as (rig, (engine,), collector):
        await rig.ask(post(max_tokens=9, messages=[{"role": "user", "content": "CANARY"}]))
        whole, attempt = await collector.until(2)

    assert (whole.name, attempt.name) == ("POST /v1/chat/completions", "chat small-served")
    assert (whole.kind, attempt.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert (attempt.trace_id, attempt.parent_span_id) == (whole.trace_id, whole.span_id)
    assert whole.start_time_unix_nano <= attempt.start_time_unix_nano
    assert attempt.end_time_unix_nano <= whole.end_time_unix_nano
    assert _attributes(whole) == {
        "http.request.method": "POST", "http.route": "/v1/chat/completions", "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "chat", "modelfleet.cascade": "c", "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2, "modelfleet.result": "Answered",
        "modelfleet.tier": "small", "modelfleet.attempts": 1, "modelfleet.escalations": 0,
    }  # fmt: skip
    assert _attributes(attempt) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": "small-served",
        "server.address": "127.0.0.1", "server.port": engine.port, "modelfleet.tier": "small",
        "modelfleet.model_tier": "small-mt", "gen_ai.request.max_tokens": 9, "modelfleet.outcome": "Answered",
        "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2,
    }  # fmt: skip
    assert collector.services == {"modelfleet-router"}
    assert collector.paths == {"/v1/traces"}
    assert b"CANARY" not in b"".join(collector.raw)


def _said(text: str, logprob: float) -> Act:
    told = {"content": [{"token": text, "logprob": logprob}]}
    choice = {"index": 0, "message": {"content": text}, "logprobs": told, "finish_reason": "stop"}
    return reply({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 3}})


WAYS: dict[str, tuple[list[list[Act]], dict[str, Any], list[str], bool]] = {
    "escalated": ([[_said("CANARY", -2.0)], [_said("CANARY", -0.1)]], {}, ["Escalated", "Answered"], False),
    "moved on": ([[reply({}, status=500)], [reply(GOOD)]], {}, ["Status5xx", "Answered"], False),
    "refused": ([[raw()]], {}, ["Reset"], True),
    "streamed": ([[stream(*GOOD_STREAM)]], {"stream": True}, ["Answered"], False),
    "broken": ([[raw(SSE_HEAD + chunk(token("CANARY")))]], {"stream": True}, ["Reset"], True),
}


@pytest.mark.parametrize(("acts", "asked", "outcomes", "failed"), WAYS.values(), ids=WAYS)
async def test_span_per_attempt_when_a_request_is(
    acts: list[list[Act]],
    asked: dict[str, Any],
    outcomes: list[str],
    failed: bool,  # noqa: FBT001 - a row
):
    async with traced(*acts, rule=AcceptRule("MeanLogprob", -0.5)) as (rig, _, collector):
        await rig.ask(post(**asked))
        whole, *attempts = await collector.until(1 + len(outcomes))

    assert [_attributes(span)["modelfleet.outcome"] for span in attempts] == outcomes
    assert (whole.status.code == whole.status.STATUS_CODE_ERROR) is failed
    assert {span.trace_id for span in attempts} == {whole.trace_id}
    for span in attempts:
        well = _attributes(span)["modelfleet.outcome"] in {"Answered", "Escalated"}
        assert ("error.type" in _attributes(span)) is not well
        assert ("gen_ai.usage.output_tokens" in _attributes(span)) is well
    assert b"CANARY" not in b"".join(collector.raw)


async def test_trace_of_the_caller_goes_on_to_the_engine():
    async with traced([reply(GOOD)], percent=0) as (rig, (engine,), collector):
        given = f"traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=1\r\nconnection: close\r\n"
        await rig.ask(post(fields=given))
        whole, attempt = await collector.until(2)

    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, SPAN)
    head = engine.asked[0].head.decode().lower()
    assert head.count("traceparent") == 1
    assert f"traceparent: 00-{TRACE}-{attempt.span_id.hex()}-01\r\n" in head
    assert "tracestate: a=1\r\n" in head


UNTRACED = {
    "its caller does not want it": (100, 0.0, f"traceparent: 00-{TRACE}-{SPAN}-00\r\n"),
    "it is not in the sample": (10, 0.11, ""),
}


@pytest.mark.parametrize(("percent", "spin", "fields"), UNTRACED.values(), ids=UNTRACED)
async def test_no_spans_when(percent: int, spin: float, fields: str):
    async with traced([reply(GOOD)], percent=percent, spin=spin) as (rig, (engine,), collector):
        await rig.ask(post(fields=f"{fields}connection: close\r\n"))

    assert not collector.spans
    assert fields in engine.asked[0].head.decode().lower(), "the context is the caller's own"


async def test_settings_turn_it_off_again():
    async with traced([reply(GOOD)]) as (rig, _, collector):
        rig.state.recorder.follow(RouterRules())
        await rig.ask(post())

    assert not collector.spans


async def test_missing_library_is_said_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    tracing = Tracing(loop=asyncio.get_running_loop(), spin=lambda: 0.0)
    told = Recorder(None, tracing, spin=lambda: 0.0)
    rules = RouterRules(tracing_endpoint="http://127.0.0.1:9", tracing_percent=100)
    async with engines([reply(GOOD)]) as (engine,):
        route = cascade(tier("small", weight=1000))
        async with router(route, {"small-svc": [engine.port]}, rules=rules, recorder=told) as rig:
            await until(lambda: "modelfleet[tracing]" in caplog.text)

            assert (await rig.ask(post())).status == 200
