"""The address of an external API, taken apart."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_HTTPS_PORT: Final = 443
_HTTP_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Parts:
    """Of a base URL."""

    netloc: str  # host and port as written, without a user
    host: str
    port: int
    path: str  # without a / at its end
    secure: bool


def parts(url: str) -> Parts | None:
    """The parts of an http(s) URL; None for anything else."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return None
    if found.scheme not in {"http", "https"} or not found.hostname or port == 0:
        return None
    secure = found.scheme == "https"
    return Parts(
        netloc=found.netloc.rpartition("@")[2],
        host=found.hostname,
        port=port or (_HTTPS_PORT if secure else _HTTP_PORT),
        path=found.path.rstrip("/"),
        secure=secure,
    )
