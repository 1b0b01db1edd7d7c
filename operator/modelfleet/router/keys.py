"""API keys: a mounted Secret whose entries say who may come in, read again when the kubelet has changed it.

The folder decides alone.  Nothing in it that can be used means that nobody comes in, whatever the reason: a Secret
that is missing, an entry with a typing error, a kubelet that is late.
"""

import hashlib
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

from modelfleet.route import keys, refusal
from modelfleet.route.keys import ApiKey, Bucket
from modelfleet.route.refusal import Refused

_log = logging.getLogger(__name__)

_ENTRIES_MAX = 10_000
_ENTRY_BYTES_MAX = 16 * 1024
_KEY_BYTES_MAX = 512
_NAMED_MAX = 20  # in a log line
_LINK = "..data"  # the kubelet swaps this link, so that all files of a Secret change at once


class KeyRing:
    """The keys in `folder`.  `now`: the loop's time in seconds."""

    def __init__(self, folder: str, *, now: Callable[[], float]) -> None:
        self._folder = Path(folder)
        self._now = now
        # What a lookup costs depends on what is looked up.  Nobody outside can choose or foresee that: it is made
        # with this secret of the process.
        self._blind = os.urandom(32)
        self._by_mac: dict[bytes, ApiKey] = {}
        self._buckets: dict[str, Bucket] = {}  # by name of the entry
        self._version: str | None = None
        self.broken: tuple[str, ...] = ()  # names of entries that cannot be used
        if not self.refresh():
            _log.warning("there are no API keys, so nobody comes in")

    def counts(self) -> dict[str, int]:
        """How many entries let somebody in, and how many should and do not."""
        return {"usable": len(self._by_mac), "broken": len(self.broken)}

    def admit(self, fields: list[tuple[bytes, bytes]]) -> ApiKey:
        """The key that a request's header fields carry.  Raises Refused (401, 503)."""
        if not self._by_mac:
            raise Refused(refusal.NO_KEYS)
        given = keys.bearer(fields)
        if given is None:
            raise Refused(refusal.KEY_MISSING)
        if len(given) > _KEY_BYTES_MAX:
            raise Refused(refusal.KEY_WRONG)
        found = self._by_mac.get(self._mac(hashlib.sha256(given).digest()))
        if found is None or not found.matches(given):
            raise Refused(refusal.KEY_WRONG)
        return found

    def take(self, key: ApiKey, *, routers: int) -> None:
        """Count one request of the key; `routers` share its rate.  Raises Refused (429) beyond it."""
        bucket = self._buckets.get(key.name)
        if bucket is not None and (wait_s := bucket.take(self._now(), routers=routers)):
            raise Refused(refusal.over_rate(math.ceil(wait_s)))

    def refresh(self) -> bool:
        """Read the folder again if it changed; whether that made a difference."""
        version = self._stamp()
        if version is not None and version == self._version:
            return False
        found, broken = self._read()
        if self._stamp() != version:
            return False  # changed meanwhile, so this may be half of it: the next round reads it whole
        self._version = version
        before = {key.name: key for key in self._by_mac.values()}
        now = {key.name: key for key in found}
        if now == before and broken == self.broken:
            return False
        # Names of entries are for the administrator; what is in them never leaves this object.
        level = logging.WARNING if broken or not now else logging.INFO
        _log.log(level, "API keys changed", extra={"usable": len(now), "broken": broken[:_NAMED_MAX]})
        self._buckets = {
            name: self._bucket(key, before.get(name)) for name, key in now.items() if key.per_minute
        }
        self._by_mac = {self._mac(key.digest): key for key in found}
        self.broken = broken
        return True

    def _bucket(self, key: ApiKey, before: ApiKey | None) -> Bucket:
        """A key keeps what it has used when something else in its Secret changes."""
        if key == before:
            return self._buckets[key.name]
        return Bucket(key.per_minute or 1, now_s=self._now())

    def _mac(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._blind, digest_size=16).digest()

    def _stamp(self) -> str | None:
        """Where the kubelet's link points; None where there is none, and only reading tells what changed."""
        try:
            return str((self._folder / _LINK).readlink())
        except OSError:
            return None

    def _read(self) -> tuple[list[ApiKey], tuple[str, ...]]:
        """All entries that can be used, and the names of the others."""
        by_digest: dict[bytes, list[ApiKey]] = {}
        broken: list[str] = []
        for name in _names(self._folder):
            try:
                found = keys.entry(name, _text(self._folder / name))
            except (ValueError, OSError):
                broken.append(name)
            else:
                by_digest.setdefault(found.digest, []).append(found)
        # Two entries for one key contradict each other, and neither may win by chance.
        broken += [each.name for twins in by_digest.values() if len(twins) > 1 for each in twins]
        usable = [twins[0] for twins in by_digest.values() if len(twins) == 1]
        return usable, tuple(sorted(broken))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".."))[:_ENTRIES_MAX]
    except OSError:
        return []


def _text(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_ENTRY_BYTES_MAX)
