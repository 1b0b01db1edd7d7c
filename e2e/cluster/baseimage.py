"""The base image where none can be pulled: a minimal Debian with Python, straight from Debian's mirror."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import buildah, mirrors, paths
from e2e.cluster.progress import step
from e2e.cluster.publish import lock

SUITE = "bookworm"
# curl and libgomp1 are what llama.cpp's public image has; the others are what the public Python image has.
PACKAGES = ("ca-certificates", "curl", "libgomp1", "python3", "python3-venv")
# What the image has that compiles the router.
COMPILER = ("gcc", "libc6-dev", "python3-dev")
# Grows nobody's image; apt's sources name this machine's mirror.
LEFT_OUT = (
    "etc/apt/sources.list",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "debootstrap",
)


def ensure() -> str:
    """The tag of the base image, made if it is not there."""
    return _ensure("base", PACKAGES)


def compiler() -> str:
    """The tag of the same with a C compiler and Python's headers."""
    return _ensure("compiler", (*PACKAGES, *COMPILER))


def _ensure(name: str, packages: Sequence[str]) -> str:
    tag = f"localhost/modelfleet-{name}:{paths.content_key([], also=[SUITE, *packages, *LEFT_OUT])}"
    if buildah.exists(tag):
        return tag
    with lock(f"image-{name}"):
        if not buildah.exists(tag):
            with step(f"making the {name} image with debootstrap", typical_s=90):
                _make(tag, paths.made(paths.cache() / name), packages)
    return tag


def _make(tag: str, folder: Path, packages: Sequence[str]) -> None:
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    try:
        _run(
            "debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(root),
            *mirrors.debian(),
        )  # fmt: skip
        tarball = folder / "base.tar"
        excluded = [f"--exclude=./{path}" for path in LEFT_OUT]
        # Devices and the like belong to the runtime, and cannot be made everywhere.
        _run(
            "tar", "--create", f"--file={tarball}", *excluded, "--exclude=./dev/*", f"--directory={root}", "."
        )
        buildah.from_tarball(tag, tarball)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*argv: str) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{argv[0]} failed:\n{(result.stdout + result.stderr)[-2000:]}")
