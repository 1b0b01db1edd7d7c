"""Requests that begin alike go to one replica, whose engine has the beginning in its cache.

Rendezvous hashing with bounded load: every replica has a score for a key, which all routers compute alike, and the
one with the highest score takes it, unless it has a quarter more to do than the mean.  A replica that comes or goes
moves only the keys that it takes or had.  See Thaler and Ravishankar, "Using name-based mappings to increase hit
rates" (1998), and Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads" (2018).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from modelfleet.route import choose

LOAD_FACTOR = 1.25
_MASK = (1 << 64) - 1


class Replica(choose.Replica, Protocol):
    """`seed`: 64 bits that its address gives it."""

    @property
    def seed(self) -> int: ...


R = TypeVar("R", bound=Replica)


def seed(text: str) -> int:
    """64 bits that are the same in every router."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def key(fields: Mapping[str, Any], characters: int) -> int:
    """What a request begins with: `characters` of each message up to the first one of the user, or of the prompt.

    So a conversation keeps its key as it grows, and conversations under one long system prompt have keys of their own.
    """
    messages = fields.get("messages")
    if not isinstance(messages, list):
        prompt = fields.get("prompt", fields.get("input"))  # of completions, of embeddings
        return seed(str(prompt[0] if isinstance(prompt, list) and prompt else prompt)[:characters])
    parts = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        parts.append(_text(message)[:characters])
        if role == "user":
            break
    return seed("\0".join(parts))


def _text(message: object) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):  # parts: only those of text
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def preferred(replicas: Sequence[R], *, tried: Collection[R], wanted: int) -> R | None:
    """The untried replica with the highest score for `wanted` that has room and not too much to do.

    None when no replica has room: the mean is over those that may have requests, so the least busy is never above it,
    except where it has been tried or has less room than the others; then it is the least busy that has room.
    """
    usable = [replica for replica in replicas if replica.room]
    if not usable:
        return None
    most = math.ceil(LOAD_FACTOR * (sum(replica.in_flight for replica in usable) + 1) / len(usable))
    best, highest = None, -1
    for replica in usable:
        flying = replica.in_flight
        if flying < most and flying < replica.room and replica not in tried:
            score = _mixed(replica.seed ^ wanted)
            if score > highest:
                best, highest = replica, score
    return best or choose.least_busy(usable, tried=tried, turn=wanted)


def _mixed(bits: int) -> int:
    """All 64 bits depend on all of `bits`: the finalizer of splitmix64."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)
