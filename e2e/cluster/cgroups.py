"""A control group of our own for the pods, and its removal: no namespace ends it for us."""

import contextlib
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "modelfleet-"


def hierarchies() -> list[Path]:
    """One folder with cgroup v2, one per controller with v1."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    # A controller may be linked under two names.
    return [folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.is_symlink()]


def make(name: str) -> str:
    """The kubelet's cgroup root, which must exist in every hierarchy before it starts."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        if hierarchy.name == "cpuset":
            # A new group has no processors of its own, and then takes no process.
            for file in ("cpuset.cpus", "cpuset.mems"):
                (group / file).write_text((hierarchy / file).read_text())
        if (controllers := hierarchy / "cgroup.controllers").exists():
            wanted = " ".join(f"+{controller}" for controller in controllers.read_text().split())
            for parent in (hierarchy, group):
                with contextlib.suppress(OSError):  # Some are taken by the machine's own manager.
                    (parent / "cgroup.subtree_control").write_text(wanted)
    return f"/{name}"


def remove(name: str) -> None:
    """Remove our groups, innermost first; those that still hold a process stay."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
