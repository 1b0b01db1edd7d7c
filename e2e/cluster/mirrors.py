"""The machine's own package mirrors, read when they are needed and written down nowhere.

pip's settings go into a build as secrets; Debian's mirror is read from apt's sources.
"""

import configparser
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
APT_SOURCES = "/etc/apt/sources.list.d/debian.sources"
APT_LIST = "/etc/apt/sources.list"
SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")
CA_IN_BUILD = "/run/secrets/ca"
# Settings that name a place on this machine, which a build cannot see.
LOCAL_ONLY = {"PIP_FIND_LINKS", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_CACHE_DIR", "PIP_TARGET", "PIP_LOG"}


def pip_secret(environ: Mapping[str, str] = os.environ) -> str:
    """Shell lines that export pip's settings of this machine."""
    settings = {**_pip_files(), **{key: value for key, value in environ.items() if key.startswith("PIP_")}}
    # uv's users set only uv's name for the same thing.
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    if index:
        settings.setdefault("PIP_INDEX_URL", index)
    kept = {key: value for key, value in settings.items() if key not in LOCAL_ONLY}
    kept["PIP_CERT"] = CA_IN_BUILD
    return "".join(f"export {key}={shlex.quote(value)}\n" for key, value in sorted(kept.items()))


def authorities(environ: Mapping[str, str] = os.environ) -> Path:
    """The file of certificate authorities that this machine trusts."""
    for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if (value := environ.get(name)) and Path(value).is_file():
            return Path(value)
    return SYSTEM_CA


def debian() -> tuple[str, ...]:
    """The mirror that apt uses for Debian itself, as the last argument of debootstrap, which has a default."""
    for file, pattern in (
        (APT_SOURCES, r"^URIs:\s*(\S+)"),
        (APT_LIST, r"^deb\s+(?:\[[^]]*\]\s+)?(\S*/debian/?)\s"),
    ):
        path = Path(file)
        if path.is_file() and (match := re.search(pattern, path.read_text(), re.MULTILINE)):
            return (match[1],)
    return ()


def _pip_files() -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read([Path(file).expanduser() for file in PIP_FILES])
    return {
        f"PIP_{key.upper().replace('-', '_')}": value.replace("\n", " ").strip()
        for section in ("global", "install")
        if parser.has_section(section)
        for key, value in parser.items(section)
    }
