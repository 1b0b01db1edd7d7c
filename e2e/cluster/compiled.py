"""The router as its image runs it, compiled: a folder of the cache for `PYTHONPATH`.

    python -m e2e.cluster.compiled            prints the folder, and makes it where it is missing (about 70 s)
    python -m e2e.cluster.compiled --whole    one with the rest of the package beside it, for tests

The source tree never holds anything compiled: it is copied first.
"""

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

from e2e.cluster import paths
from e2e.cluster.progress import step
from e2e.cluster.publish import once

# What the router imports; a change of anything else compiles nothing.  The Dockerfile copies the same.
INPUTS = (
    "pyproject.toml",
    "LICENSE",
    *(f"operator/modelfleet/{part}" for part in ("*.py", "adapters", "api", "cli", "route", "router")),
)
KEPT = 6


def folder() -> Path:
    """The folder with what the router imports, for the sources as they are now."""
    key = paths.content_key(_sources(), also=[sys.version, sysconfig.get_platform()])
    return _kept(key, _make)


def whole() -> Path:
    """The same with the rest of the package beside it, which tests of the router import too."""
    made = folder()
    package = paths.REPO / "operator" / "modelfleet"
    rest = [file for file in package.rglob("*.py") if not (made / file.relative_to(package.parent)).exists()]

    def make(unfinished: Path) -> None:
        shutil.copytree(made, unfinished)
        for file in rest:
            target = unfinished / file.relative_to(package.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)

    return _kept(f"{made.name}-{paths.content_key(rest)}", make)


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    home = paths.made(paths.cache() / "compiled")
    found = once(home / name, make, name="compiled")
    found.touch()
    # What is still being made has a dot before its name.
    for old in sorted(home.glob("[!.]*"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return found


def _sources() -> list[Path]:
    found = [path for name in INPUTS for path in paths.REPO.glob(name)]
    return [path for path in found if path.is_file()] + [
        file for path in found if path.is_dir() for file in path.rglob("*.py")
    ]


def _make(unfinished: Path) -> None:
    copy = unfinished.with_name("source")
    for file in _sources():
        target = copy / file.relative_to(paths.REPO)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (copy / "README.md").touch()  # the project names it
    with step("compiling the router", typical_s=70):
        wheel = _wheel(copy)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unfinished)
    compileall.compile_dir(unfinished, quiet=1)  # as pip does in the image
    shutil.rmtree(copy)


def _wheel(copy: Path) -> Path:
    # Not pip: it would build twice, once for the metadata.
    result = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"],
        cwd=copy,
        env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1", "MYPYPATH": "operator"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"the router does not compile:\n{(result.stdout + result.stderr)[-4000:]}")
    return next((copy / "dist").glob("*.whl"))


if __name__ == "__main__":
    print(whole() if "--whole" in sys.argv else folder())
