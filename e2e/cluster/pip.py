"""Unpacking wheels into a folder, with whichever installer the environment has."""

import shutil
import subprocess
import sys
from pathlib import Path


def unpack(target: Path, *requirements: str) -> None:
    """Install what `requirements` (pip's arguments) name into `target`, without dependencies."""
    argv = [*_installer(), "install", "--quiet", "--no-deps", "--target", str(target), *requirements]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed:\n{result.stderr[-2000:]}")


def _installer() -> list[str]:
    here = [sys.executable, "-m"]
    for argv in ([*here, "pip"], [*here, "uv", "pip"], ["uv", "pip"]):
        # Environments that uv makes have no pip of their own.
        found = shutil.which(argv[0])
        if found and subprocess.run([*argv, "--help"], capture_output=True, check=False).returncode == 0:
            return [*argv]
    raise RuntimeError("neither pip nor uv is here; `make venv` makes an environment that has them")
