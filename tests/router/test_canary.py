"""Nothing of prompts, answers or keys comes out of a router, but what belongs into its answers.

A real router runs at its most talkative, sees everything go wrong that can, and all it says is searched.
"""

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule, CascadeRoute, ExternalTarget, RouterRules, RouteTable
from tests.router.processes import OPERATOR, START_S_MAX, ControlPlane
from tests.router.rig import (
    DONE,
    GOOD,
    PATIENCE_S,
    SSE_HEAD,
    Act,
    Peer,
    chunk,
    config_map,
    engines,
    hang,
    post,
    raw,
    reply,
    stream,
    tier,
    token,
)

PROMPT, ANSWER = "canary-of-a-prompt", "canary-of-an-answer"
KEY, WRONG_KEY, ENGINE_KEY = "canary-of-a-key", "canary-of-a-wrong-key", "canary-of-an-engine-key"
COOKIE, QUERY, TOKEN = "canary-of-a-cookie", "canary-of-a-query", "canary-of-a-token"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
SECRET = (PROMPT, ANSWER, KEY, WRONG_KEY, ENGINE_KEY, COOKIE, QUERY, TOKEN, DIGEST)
ASKED = {"messages": [{"role": "user", "content": PROMPT}]}

TOLD = {**GOOD, "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}}]}
BROKEN_JSON = f'{{"choices": "{ANSWER}'.encode()
ERROR_EVENT = b'data: {"error":{"message":"%b"}}\n\n' % ANSWER.encode()
LEAKS = f"X-Leak: {ANSWER}\r\n"
# What engines do, by the word that a request asks for.
ENGINES: dict[str, Act] = {
    "good": reply(TOLD),
    "stream": stream(token(ANSWER), DONE),
    "fails": reply({"error": {"message": ANSWER}}, status=500, fields=LEAKS),
    "denies": reply({"error": {"message": ANSWER}}, status=401),
    "redirects": reply(b"", status=302, fields=f"Location: https://{ANSWER}/\r\n"),
    "html": reply(ANSWER.encode(), kind="text/html"),
    "no JSON": reply(BROKEN_JSON),
    "an error": reply({"error": {"message": ANSWER}}),
    "hangs": hang(),
    "hangs in the middle": hang(SSE_HEAD, chunk(token(ANSWER))),
    "hangs in a whole answer": hang(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + BROKEN_JSON
    ),
    "closes": raw(),
    "closes in the middle": raw(SSE_HEAD, chunk(token(ANSWER))),
    "an error in a stream": raw(SSE_HEAD, chunk(token(ANSWER)), chunk(ERROR_EVENT)),
    "an error for a stream": raw(SSE_HEAD, chunk(ERROR_EVENT)),
    "no HTTP": raw(ANSWER.encode()),
    "a broken header": raw(f"HTTP/1.1 200 OK\r\n{ANSWER}\r\n\r\n".encode()),
    "half a chunk": raw(SSE_HEAD, b"ffff\r\n" + token(ANSWER)),
    "no chunk": raw(SSE_HEAD, ANSWER.encode()),
    "two lengths": raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + ANSWER.encode()
    ),
    # Last: after it the external tier is left alone for a while.
    "limits": reply({"error": {"message": ANSWER}}, status=429, fields="Retry-After: 1\r\n"),
}


async def as_asked(peer: Peer) -> None:
    """The engine does what the request says."""
    word = orjson.loads(peer.body)["user"]
    await ENGINES[word](peer)


def ask(key: str | None = KEY, *, path: str = "/v1/chat/completions", **more: Any) -> bytes:
    fields = f"connection: close\r\ncookie: session={COOKIE}\r\nx-own: {COOKIE}\r\n"
    if key is not None:
        fields += f"authorization: Bearer {key}\r\n"
    return post(path=f"{path}?api-key={QUERY}", fields=fields, **{**ASKED, **more})


# What clients do that is refused at the door.
REFUSED = {
    "no key": ask(None),
    "a wrong key": ask(WRONG_KEY),
    "a wrong key for models": f"GET /v1/models HTTP/1.1\r\nhost: r\r\nconnection: close\r\nauthorization: Bearer {WRONG_KEY}\r\n\r\n".encode(),
    "a password": f"GET /v1/models HTTP/1.1\r\nhost: r\r\nconnection: close\r\nauthorization: Basic {WRONG_KEY}\r\n\r\n".encode(),
    "no such path": ask(path=f"/v1/{PROMPT}"),
    "no JSON": ask().replace(b'"messages":', b'"messages";'),
    "a field twice": ask().replace(b'"model":"chat"', b'"model":"a","model":"b"'),
    "a form": ask().replace(b"cookie:", b"content-type: text/plain\r\ncookie:"),
    "no HTTP": PROMPT.encode() + b"\r\n\r\n",
    "a broken header": f"GET / HTTP/1.1\r\nhost: r\r\n{PROMPT}\r\n\r\n".encode(),
    "two lengths": ask().replace(b"cookie:", b"content-length: 1\r\ncookie:"),
    "a large header": ask().replace(b"cookie:", b"x: " + PROMPT.encode() * 4000 + b"\r\ncookie:"),
    "a large body": ask(padding=PROMPT * 100_000),
    "a tier that is none": ask().replace(b"cookie:", b"x-modelfleet-tier: x\r\ncookie:"),
}


class Plane(ControlPlane):
    """Its routers tell of every request."""

    def tables(self) -> dict[str, Any]:
        return config_map(
            RouteTable(self.cascades, RouterRules(access_log_percent=100)), version=str(self.version)
        )


@dataclass
class Talkative:
    """A running router that logs all it can into a file."""

    said: Path
    http: int = 0
    metrics: int = 0

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.said.read_bytes().splitlines() if line.startswith(b"{")]

    def ready(self) -> bool:
        told = {line["message"]: line for line in self.lines()}
        if not told.keys() >= {"listening", "route table loaded", "endpoints changed"}:
            return False
        self.http, self.metrics = told["listening"]["http"], told["listening"]["metrics"]
        return True

    async def ask(self, request: bytes, port: int = 0) -> bytes:
        """All that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.http)
        try:
            writer.write(request)
            async with asyncio.timeout(PATIENCE_S):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def talkative(
    folder: Path, *cascades: CascadeRoute, ports: dict[str, list[int]]
) -> AsyncIterator[Talkative]:
    plane = Plane(cascades, ports)
    keys = folder / "keys"
    keys.mkdir()
    (keys / "team").write_bytes(orjson.dumps({"sha256": DIGEST}))
    (keys / "broken").write_bytes(orjson.dumps({"sha256": DIGEST[:-1], "secret": KEY}))
    api = await asyncio.start_server(plane.serve, "127.0.0.1", 0)
    router = Talkative(folder / "said")
    with router.said.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-m", "modelfleet.cli.route", "--log-level", "debug"),
            *("--api-server", f"http://127.0.0.1:{api.sockets[0].getsockname()[1]}", "--api-token", TOKEN),
            *("--api-keys", str(keys), "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"),
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(OPERATOR), "MODELFLEET_NAMESPACE": "ns"},
        )
        try:
            async with asyncio.timeout(START_S_MAX):
                while not router.ready():  # noqa: ASYNC110 - another process makes it true
                    await asyncio.sleep(0.05)
            yield router
        finally:
            process.kill()
            await process.wait()
            api.close()


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Talkative]:
    key = tmp_path / "engine-key"
    key.write_text(ENGINE_KEY)
    async with engines([as_asked], [as_asked]) as (near, far):
        target = ExternalTarget(f"http://127.0.0.1:{far.port}/v1", str(key), None)
        limits: dict[str, Any] = {"deadline_s": 2.0, "max_body_bytes": 1 << 20}
        steps = (
            tier("small", weight=1000, timeout_s=0.3),
            tier("frontier", timeout_s=0.3, external=target),
        )
        rule = AcceptRule("MeanLogprob", -0.1)
        judging = (replace(steps[0], name="judged", accept=rule, engine="vllm"), steps[1])
        cascades = (
            CascadeRoute("plain", "chat", tiers=steps, **limits),
            CascadeRoute("judging", "judged", tiers=judging, **limits),
        )
        async with talkative(tmp_path, *cascades, ports={"small-svc": [near.port]}) as found:
            yield found


def secrets_in(text: bytes) -> list[str]:
    return [secret for secret in SECRET if secret.encode() in text]


async def test_nothing_secret_comes_out(router: Talkative):
    answered = {}
    for word in ENGINES:
        for model in ("chat", "judged"):
            for streams in (False, True):
                came = await router.ask(ask(model=model, user=word, stream=streams))
                answered[word, model, streams] = came
    refused = {name: await router.ask(sent) for name, sent in REFUSED.items()}
    await leave(router)
    get = b" HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"
    shown = {
        path: await router.ask(b"GET " + path + get, router.metrics)
        for path in (b"/metrics", b"/debug/table")
    }

    # What is an answer may hold an answer; nothing else may hold anything.
    heads = {name: came.partition(b"\r\n\r\n")[0] for name, came in answered.items()}
    errors = {name: came for name, came in answered.items() if b'"code":"' in came and b"200 OK" not in came}
    assert {name: secrets_in(head) for name, head in heads.items() if secrets_in(head)} == {}
    assert {name: secrets_in(came) for name, came in errors.items() if secrets_in(came)} == {}
    assert {name: secrets_in(came) for name, came in refused.items() if secrets_in(came)} == {}
    assert {name: secrets_in(came) for name, came in shown.items() if secrets_in(came)} == {}
    said = router.said.read_bytes()
    assert [line for line in said.splitlines() if secrets_in(line)] == []

    # The search found nothing because nothing was there, not because nothing happened.
    assert ANSWER.encode() in answered["good", "chat", False]
    assert all(re.match(rb"HTTP/1.1 4\d\d ", came) for came in refused.values()), refused
    assert len(errors) > len(ENGINES)
    assert said.count(b'"status"') > len(ENGINES)
    assert b"API keys changed" in said
    assert b"modelfleet_router_attempts_total" in shown[b"/metrics"]


async def leave(router: Talkative) -> None:
    """Clients that go away in the middle of a request, and of an answer."""
    for sent in (ask()[:-5], ask(user="hangs"), ask(user="hangs in the middle", stream=True)):
        reader, writer = await asyncio.open_connection("127.0.0.1", router.http)
        writer.write(sent)
        await writer.drain()
        if b"in the middle" in sent:
            await reader.read(100)
        writer.close()
