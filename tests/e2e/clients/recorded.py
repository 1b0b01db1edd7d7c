"""A stand-in for vLLM that answers byte for byte what a real one answered, stream chunks as they were cut."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parents[2] / "fixtures" / "vllm-0.32.0"
LENGTH_MAX = 2048  # of the recorded server


def name_of(path: str, fields: Mapping[str, Any]) -> str:
    """The recording that answers a request."""
    chat = path == "/v1/chat/completions"
    if path == "/v1/embeddings":
        return "error-embeddings"
    if fields.get("temperature", 0) < 0:
        return "error-bad-temperature"
    if fields.get("max_tokens", 0) > LENGTH_MAX:
        return "error-too-long"
    if chat and "messages" not in fields:
        return "error-no-messages"
    if any(isinstance(message.get("content"), list) for message in fields.get("messages", [])):
        return "error-image"
    told = "-logprobs" if fields.get("logprobs") not in {None, False} else ""
    told += "-chosen" if told and not fields.get("top_logprobs") else ""
    return "".join((
        "chat" if chat else "completions",
        _tool(fields),
        {"json_object": "-json-object", "json_schema": "-schema"}.get(
            (fields.get("response_format") or {}).get("type", ""), ""
        ),
        "-two" if fields.get("n", 1) > 1 else "",
        "-stream" if fields.get("stream") else "",
        told,
    ))  # fmt: skip


def _tool(fields: Mapping[str, Any]) -> str:
    if not fields.get("tools"):
        return ""
    choice = fields.get("tool_choice")
    return "-tool" if isinstance(choice, dict) else f"-tool-{choice or 'auto'}"


@dataclass
class Vllm:
    """One server.  `made`: names that are taken from the folder of that name."""

    made: frozenset[str] = frozenset()
    instead: dict[str, str] = field(default_factory=dict)  # recordings that take the place of others
    asked: list[dict[str, Any]] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        fields = orjson.loads(await reader.readexactly(length))
        self.asked.append(fields)
        answer = self.answer(name_of(head.split()[1].decode(), fields))
        self.said.append(answer)
        for piece in pieces(answer):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()  # as the recordings say in their heads

    def answer(self, name: str) -> bytes:
        name = self.instead.get(name, name)
        folder = FOLDER / ("made" if name in self.made else "recorded")
        found = folder / f"{name}.http"
        if not found.exists():  # it was not recorded with log probabilities, and says none
            return self.answer(name.partition("-logprobs")[0])
        return found.read_bytes()


def pieces(answer: bytes) -> list[bytes]:
    """An answer as it came: its head, then chunk by chunk, or all at once."""
    head, mark, rest = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return [answer]
    found = [head + mark]
    while rest:
        size, _, after = rest.partition(b"\r\n")
        cut = len(size) + 2 + int(size, 16) + 2
        found.append(rest[:cut])
        rest = rest[cut:]
        assert after
    return found


def body(answer: bytes) -> bytes:
    """What an answer says, without its head and its chunks' sizes."""
    first, *chunks = pieces(answer)
    if not chunks:
        return first.partition(b"\r\n\r\n")[2]
    return b"".join(chunk.partition(b"\r\n")[2][:-2] for chunk in chunks)


@asynccontextmanager
async def vllm(*made: str, **instead: str) -> AsyncIterator[Vllm]:
    """A running one."""
    found = Vllm(frozenset(made), {old.replace("_", "-"): new for old, new in instead.items()})
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
