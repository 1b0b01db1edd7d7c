"""Keys and certificate authorities of external tiers, as files that the kubelet may write, change or never bring.

Contents never leave this object except into a request's head or a TLS context: not into logs, metrics or errors.
"""

import logging
import ssl
from pathlib import Path

_log = logging.getLogger(__name__)

_KEY_CHARS_MAX = 4096


class Secrets:
    """Reads files once and again when they change."""

    def __init__(self) -> None:
        self._keys: dict[str, str | None] = {}
        self._authorities: dict[str | None, tuple[str | None, ssl.SSLContext | None]] = {}

    def key(self, path: str) -> str | None:
        """The key in a file; None while there is none that could be a header's value."""
        if path not in self._keys:
            self._keys[path] = _read_key(path)
        return self._keys[path]

    def tls(self, ca_file: str | None) -> ssl.SSLContext | None:
        """A context that trusts the authorities in `ca_file`, or the system's; None while the file is not usable."""
        if ca_file not in self._authorities:
            text = _read(ca_file) if ca_file is not None else None
            self._authorities[ca_file] = (text, _context(ca_file, text))
        return self._authorities[ca_file][1]

    def refresh(self) -> bool:
        """Read all files again; whether anything changed."""
        changed = False
        for key_file, known in self._keys.items():
            key = _read_key(key_file)
            if key != known:
                _log.info("external key changed", extra={"path": key_file, "present": key is not None})
                self._keys[key_file] = key
                changed = True
        for path, (known_text, _) in list(self._authorities.items()):
            text = _read(path) if path is not None else None
            if text != known_text:
                _log.info("external authority changed", extra={"path": path, "present": text is not None})
                self._authorities[path] = (text, _context(path, text))
                changed = True
        return changed


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None


def _read_key(path: str) -> str | None:
    key = (_read(path) or "").strip()
    usable = 0 < len(key) <= _KEY_CHARS_MAX and key.isprintable() and " " not in key
    return key if usable else None


def _context(path: str | None, text: str | None) -> ssl.SSLContext | None:
    if path is not None and not text:
        return None
    try:
        # A pinned authority is the only one trusted; without one, the system's are.
        return ssl.create_default_context(cadata=text)
    except ssl.SSLError:
        _log.error("external authority is not a certificate", extra={"path": path})
        return None
