"""Who may come in: what the entry of an API key says, and how often its requests may come.

An entry holds the SHA-256 of a key and never the key.  A plain hash is enough because a key is long and random: there
is nothing to guess from, as there would be with a password.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = frozenset({"sha256", "models", "tiers", "dataClass", "requestsPerMinute"})
_CHARS_MAX = 253  # of a model's, tier's or class's name
_NAMES_MAX = 100
_PER_MINUTE_MAX = 1_000_000
# A client that sends its requests together may: so many seconds of its rate are there at once.
BURST_S = 10.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What one key may do.  None means that nothing is said, so everything is allowed."""

    name: str  # of its entry: what logs and people call it
    digest: bytes  # SHA-256 of the key
    models: frozenset[str] | None = None
    tiers: frozenset[str] | None = None  # names of steps, as in a Cascade
    data_class: str | None = None
    per_minute: int | None = None  # requests, at all routers together

    def matches(self, given: bytes) -> bool:
        """Whether this is the key, in a time that tells nothing of it."""
        return hmac.compare_digest(self.digest, hashlib.sha256(given).digest())

    def may_use(self, model: str) -> bool:
        """Whether the key is for this model, whether or not there is one of that name."""
        return self.models is None or model in self.models


def entry(name: str, text: bytes) -> ApiKey:
    """The entry of that name.  Raises ValueError, which says what is wrong and quotes nothing.

    A field that nobody knows spoils the entry: `model` for `models` would let its key use every model.
    """
    try:
        # Not orjson, which the operator's command `key` does not have.
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(raw, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - one error for a broken entry
    if not raw.keys() <= _FIELDS:
        raise ValueError(f"has a field other than {', '.join(sorted(_FIELDS))}")
    digest = raw.get("sha256")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest.lower()):
        raise ValueError("has no sha256 of 64 hexadecimal digits")
    data_class = raw.get("dataClass")
    if data_class is not None and not _named(data_class):
        raise ValueError("has a dataClass that is no name")
    return ApiKey(
        name=name,
        digest=bytes.fromhex(digest),
        models=_names(raw, "models"),
        tiers=_names(raw, "tiers"),
        data_class=data_class,
        per_minute=_per_minute(raw),
    )


def _names(raw: Mapping[str, Any], field: str) -> frozenset[str] | None:
    found = raw.get(field)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > _NAMES_MAX or not all(map(_named, found)):
        raise ValueError(f"has {field} that are no list of at most {_NAMES_MAX} names")
    return frozenset(found)


def _named(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _CHARS_MAX


def _per_minute(raw: Mapping[str, Any]) -> int | None:
    found = raw.get("requestsPerMinute")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= _PER_MINUTE_MAX:
        raise ValueError(f"has requestsPerMinute that is no whole number from 1 to {_PER_MINUTE_MAX}")
    return found


def bearer(fields: list[tuple[bytes, bytes]]) -> bytes | None:
    """The key in a request's header fields; None where there is none, or more than one to choose from."""
    found: bytes | None = None
    for name, value in fields:
        if name == b"authorization":
            if found is not None:
                return None
            found = value
    if found is None or found[:7].lower() != b"bearer ":
        return None
    return found[7:].strip() or None


class Bucket:
    """One key's share of its rate at one router: fills steadily, holds `BURST_S` of it and at least one request.

    Each router fills at the rate divided by the number of ready routers.  So over any time t all of them together let
    in at most rate x t and one burst, and a burst is never less than one request per router.
    """

    __slots__ = ("_at_s", "_held", "_per_minute")

    def __init__(self, per_minute: int, *, now_s: float) -> None:
        self._per_minute = per_minute
        self._held = float(per_minute)  # cut to the burst when it is first asked
        self._at_s = now_s

    def take(self, now_s: float, *, routers: int) -> float:
        """Take one request out: 0.0, or how many seconds until there is one."""
        per_s = self._per_minute / 60.0 / routers
        burst = max(1.0, per_s * BURST_S)
        self._held = min(burst, self._held + (now_s - self._at_s) * per_s)
        self._at_s = now_s
        if self._held < 1.0:
            return (1.0 - self._held) / per_s
        self._held -= 1.0
        return 0.0
