"""The router's paths: which request becomes an exchange, and which is answered here."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from modelfleet.route import account, call, choose, refusal
from modelfleet.route.account import End
from modelfleet.route.keys import ApiKey
from modelfleet.route.refusal import Refusal, Refused
from modelfleet.router import debug, exposition
from modelfleet.router.bodies import Bodies
from modelfleet.router.fleet import Fleet, Line, Passage, models
from modelfleet.router.judged import JudgedExchange
from modelfleet.router.message import Request
from modelfleet.router.relay import Exchange
from modelfleet.router.server import Client
from modelfleet.router.shell import Shell
from modelfleet.router.state import State

_READS = frozenset({b"GET", b"HEAD"})
_UNAUTHORIZED = 401
_MODEL_PATHS = frozenset({b"/v1/chat/completions", b"/v1/completions", call.EMBEDDINGS})


class Service:
    """Serves clients from the state's fleet."""

    def __init__(
        self, state: State, *, loop: asyncio.AbstractEventLoop, spin: Callable[[], float] = random.random
    ) -> None:
        self._state = state
        self.bodies = state.metrics.bodies = Bodies()
        self._shell = Shell(loop, spin, count().__next__, recorder=state.recorder, bodies=self.bodies)

    def on_request(self, client: Client, request: Request) -> None:
        path = request.path
        if path in _MODEL_PATHS:
            if request.method == b"POST":
                self._complete(client, request)
            else:
                client.refuse(refusal.wrong_method("POST"), b"allow: POST\r\n")
        elif path == b"/v1/models":
            if request.method in _READS:
                self._list_models(client, request)
            else:
                client.refuse(refusal.wrong_method("GET"), b"allow: GET, HEAD\r\n")
        else:
            probe(self._state, client, request)

    def _complete(self, client: Client, request: Request) -> None:
        try:
            exchange = self._exchange(client, request)
        except Refused as err:
            self._tell(request, err.refusal)
            _refuse(client, err.refusal)
        else:
            exchange.begin()

    def _tell(self, request: Request, refused: Refusal) -> None:
        """It was refused at the door."""
        recorder, now_s = self._shell.recorder, self._shell.loop.time()
        if recorder.on:
            recorder.over(End(account.REFUSED, refused.status, refused.code, now_s), request)

    def _list_models(self, client: Client, request: Request) -> None:
        fleet, keys = self._state.fleet, self._state.keys
        if keys is None:
            client.reply(200, fleet.models)
            return
        try:
            key = keys.admit(request.headers)
        except Refused as err:
            _refuse(client, err.refusal)
        else:
            client.reply(200, models(filter(key.may_use, fleet.lines)))

    def _exchange(self, client: Client, request: Request) -> Exchange:
        fleet, keys = self._state.fleet, self._state.keys
        if keys is not None:
            # Before the body is looked at: a stranger costs one hash.
            request.key = keys.admit(request.headers)
            keys.take(request.key, routers=self._state.rules.routers)
        asked = call.parse(request.body)
        line = fleet.lines.get(asked.model)
        if keys is not None or line is None:
            line = _found(line, asked.model, request.key, fleet)
        if len(request.body) > line.route.max_body_bytes:
            raise Refused(refusal.body_too_large(line.route.max_body_bytes))
        if asked.stream and request.path == call.EMBEDDINGS:
            raise Refused(refusal.NOT_STREAMED)
        passage = self._passage(line, asked, request)
        # Nobody can judge a vector by its log probabilities: an accept rule does not apply to embeddings.
        more = passage.judges or (passage.patient and asked.stream)
        kind = JudgedExchange if more and request.path != call.EMBEDDINGS else Exchange
        return kind(client, request, asked, passage, self._shell)

    def _passage(self, line: Line, asked: call.Call, request: Request) -> Passage:
        course, body_bytes = line.course, len(request.body)
        places = course.places(request.headers, asked.fields, body_bytes, request.key)
        passage = line.way(places, choose.entry(line.bounds, self._shell.spin()))
        purse = course.purse(asked.fields, body_bytes)
        return passage if purse is None else replace(passage, purse=purse)

    def on_refused(self, refused: Refusal) -> None:
        self._state.metrics.refused[refused.reason, str(refused.status)] += 1

    def body_bytes_max(self) -> int:
        return self._state.fleet.body_bytes_max


def _found(line: Line | None, model: str, key: ApiKey | None, fleet: Fleet) -> Line:
    """The line of that name.  Raises Refused (403, 404).

    A key learns of no model that it may not use, not even whether there is one.
    """
    if key is not None and not key.may_use(model):
        raise Refused(refusal.MODEL_FORBIDDEN)
    if line is None:
        known = [name for name in fleet.lines if key is None or key.may_use(name)]
        raise Refused(refusal.unknown_model(model, known))
    return line


def _refuse(client: Client, refused: Refusal) -> None:
    client.refuse(refused, b"www-authenticate: Bearer\r\n" if refused.status == _UNAUTHORIZED else b"")


def probe(state: State, client: Client, request: Request) -> None:
    """/healthz: the process turns.  /readyz: it has a table and is not on its way out."""
    if request.path == b"/healthz" and request.method in _READS:
        client.reply(200, b'{"status":"ok"}')
    elif request.path == b"/readyz" and request.method in _READS:
        reason = state.unready_reason()
        client.reply(503 if reason else 200, b'{"status":"%b"}' % (reason or "ok").encode())
    else:
        client.refuse(refusal.NO_SUCH_PATH)


class Insight:
    """The paths of the metrics port."""

    def __init__(self, state: State, registry: CollectorRegistry, *, loop: asyncio.AbstractEventLoop) -> None:
        self._state = state
        self._loop = loop
        self._registry = registry

    def on_request(self, client: Client, request: Request) -> None:
        if request.path == b"/metrics" and request.method in _READS:
            client.reply(200, exposition.page(self._registry), content_type=CONTENT_TYPE_LATEST.encode())
        elif request.path == b"/debug/table" and request.method == b"GET":
            client.reply(200, debug.table(self._state, now_s=self._loop.time()))
        else:
            probe(self._state, client, request)
