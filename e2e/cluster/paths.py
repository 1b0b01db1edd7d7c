"""Where the cluster keeps things.

What is expensive to make lives in the user's cache folder, so that a fresh clone profits too.  What one
running cluster needs lives in its state folder and dies with it.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CLUSTER = REPO / "e2e" / "cluster"
TOOLS = CLUSTER / "tools"


def cache() -> Path:
    """The folder of everything built once, `$XDG_CACHE_HOME/modelfleet`."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return made(Path(home) / "modelfleet")


def state() -> Path:
    """The folder of this clone's running cluster: kubeconfig, logs, sockets."""
    return Path(os.environ.get("MODELFLEET_CLUSTER_STATE") or REPO / ".cluster").resolve()


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def content_key(files: Iterable[Path], *, also: Iterable[str] = ()) -> str:
    """Twelve hex digits that change when a file, its place in the repository, or `also` changes."""
    digest = hashlib.sha256()
    for word in also:
        digest.update(word.encode() + b"\0")
    for file in sorted(files):
        name = file.relative_to(REPO) if file.is_relative_to(REPO) else file
        digest.update(str(name).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
