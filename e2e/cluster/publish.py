"""Building into a shared cache: one builder at a time, and nothing half-made under its final name."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import paths
from e2e.cluster.progress import say


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name`; the kernel frees it when its holder dies."""
    file = paths.made(paths.cache() / "locks") / name
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds {name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def once(target: Path, make: Callable[[Path], None], *, name: str) -> Path:
    """`target`, made by `make(unfinished)` if it is not there; `make` creates a file or a folder."""
    if target.exists():
        return target
    with lock(name):
        if target.exists():  # Made while we waited.
            return target
        paths.made(target.parent)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            make(scratch / target.name)
            (scratch / target.name).rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target
