"""The rows of corpus/, with the words in them that stand for bytes."""

import re
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.router.rig import (
    DONE,
    GOOD,
    SSE_HEAD,
    chunk,
    token,
)

CORPUS = Path(__file__).parent / "corpus"
BODY = b'{"model":"chat","messages":[]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\n"
GOOD_BODY = orjson.dumps(GOOD)
MODELS = b"GET /v1/models HTTP/1.1\r\nhost: r\r\n"
WORDS = {
    "{head}": HEAD,
    "{body}": BODY,
    "{length}": b"%d" % len(BODY),
    "{hex}": b"%x" % len(BODY),
    "{ask}": HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
    "{smuggled}": MODELS + b"\r\n",
    "{smuggled length}": b"%d" % len(MODELS + b"\r\n"),
    "{closing}": MODELS + b"connection: close\r\n\r\n",
    "{thousand nines}": b"9" * 1000,
    "{ok}": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n",
    "{sse}": SSE_HEAD.partition(b"Transfer")[0],
    "{good}": GOOD_BODY,
    "{good length}": b"%d" % len(GOOD_BODY),
    "{good hex}": b"%x" % len(GOOD_BODY),
    "{half}": GOOD_BODY[:40],
    "{event}": token("a"),
    "{done}": DONE,
    "{event chunk}": chunk(token("a")),
    "{done chunk}": chunk(DONE),
}


def rows(name: str) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((CORPUS / name).read_text(encoding="utf-8"))
    assert len({row["name"] for row in found}) == len(found)
    return {row["name"]: row for row in found}


def data(text: str) -> bytes:
    """The bytes of a row: characters up to U+00FF are bytes, others are UTF-8."""
    made = b"".join(bytes([ord(char)]) if ord(char) < 256 else char.encode() for char in text)
    for word, stands_for in WORDS.items():
        made = made.replace(word.encode(), stands_for)
    return made


REQUESTS = rows("requests.yaml")

BODIES = rows("bodies.yaml")


def body(text: str) -> bytes:
    """The bytes of a row of bodies."""
    return data(re.sub(r"«(.*?)\*([0-9]+)»", lambda found: found[1] * int(found[2]), text))


ANSWERS = rows("answers.yaml")
