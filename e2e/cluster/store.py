"""containerd's storage with all images already unpacked: made once per set of images, copied for each cluster.

Unpacking takes longer than everything else in a start.  What containerd has unpacked it never writes again, so
a copy is hard links, except for its two small databases.
"""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import containers, node, paths
from e2e.cluster.processes import Processes, spawn
from e2e.cluster.progress import step
from e2e.cluster.publish import lock, once

LOADED = "modelfleet-loaded"
START_LIMIT_S = 30.0
STOP_LIMIT_S = 30.0
KEPT = 3


def ensure(images: Path) -> Path:
    """The storage that holds the archives in `images`, made from the latest one if it is not there."""

    def make(unfinished: Path) -> None:
        with step("unpacking images", typical_s=30):
            if earlier := _latest():
                copy(earlier, unfinished)
            _fill(unfinished, images)

    target = _folder() / images.name
    with lock("stores"):
        once(target, make, name=f"store-{images.name}")
        for old in _by_age()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def copy(store: Path, target: Path) -> None:
    """A copy for one cluster; cheap where both lie on one file system."""
    paths.made(target.parent)
    linked = subprocess.run(["cp", "-al", store, target], capture_output=True, check=False)
    if linked.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        node.run("cp", "-a", str(store), str(target))
    for database in target.rglob("*.db"):
        own = database.with_suffix(".own")
        shutil.copy2(database, own)
        own.replace(database)


def copy_latest(images: Path, target: Path) -> None:
    """`ensure` and `copy` in one step that no tidying up can come between."""
    store = ensure(images)
    with lock("stores"):
        copy(store, target)


def _fill(root: Path, images: Path) -> None:
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    argv += [sys.executable, "-m", "e2e.cluster.store", str(root), str(images)]
    result = subprocess.run(argv, cwd=paths.REPO, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"unpacking images failed:\n{result.stderr[-2000:]}")


def _folder() -> Path:
    return paths.made(paths.cache() / "stores")


def _by_age() -> list[Path]:
    found = [folder for folder in _folder().iterdir() if not folder.name.startswith(".")]
    return sorted(found, key=lambda folder: folder.stat().st_mtime)


def _latest() -> Path | None:
    found = _by_age()
    return found[-1] if found else None


def main() -> None:
    """Inside namespaces of its own: let containerd unpack what it does not have yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("images", type=Path)
    arguments = parser.parse_args()
    root = paths.made(arguments.root)
    scratch = root.with_name(f"{root.name}.scratch")
    node.make_private(scratch, storage=root)
    config = scratch / "containerd.toml"
    config.write_text(node.CONTAINERD)
    with (scratch / "containerd.log").open("wb") as log:
        containerd = spawn(["containerd", "--config", str(config)], log)
    try:
        Processes(scratch, {"containerd": containerd}).wait_for(
            "containerd", containers.answers, limit_s=START_LIMIT_S
        )
        _load(root, arguments.images)
    finally:
        # Asked, not killed: its databases must be whole.
        containerd.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            containerd.wait(STOP_LIMIT_S)


def _load(root: Path, images: Path) -> None:
    record = root / LOADED
    loaded = recalled(record)
    archives = sorted(archive.resolve() for archive in images.glob("*.tar"))
    for archive in archives:
        if archive.name not in loaded:
            containers.load(archive)
    remember(record, archives)


def recalled(record: Path) -> set[str]:
    return set(record.read_text().split()) if record.exists() else set()


def remember(record: Path, archives: Sequence[Path]) -> None:
    """Note which archives a storage holds."""
    # A new file: the old one may be a link into another storage.
    record.unlink(missing_ok=True)
    record.write_text("\n".join(archive.name for archive in archives))


if __name__ == "__main__":
    main()
