"""What a pod with the real vLLM needs on the local cluster: a small image, and a claim with the rest.

The environment that tests/vllm/install.py makes takes 6 GB, three times that as an image.  The node sees this
machine's files, so the environment comes into the pod as a volume, and the model lies in the same one.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from e2e.cluster import containers, imageset, local, models, node, pip
from e2e.cluster.addons import Manifest
from e2e.cluster.progress import step
from e2e.cluster.publish import once

HOME = "MODELFLEET_VLLM"  # environment variable: the folder that tests/vllm/install.py made
IMAGE = imageset.VLLM.tag
CLAIM = "vllm"
MODEL = "models/smollm2"
# Of the Python in the test images; what is compiled for another one does not load there.
PYTHON = "python3.11"
# Transformers wants both to read GGUF, vLLM neither.
CONVERTERS = ("gguf==0.19.0", "accelerate==1.15.0")
# Where most of what it imports lies.
PACKAGES = (
    "vllm",
    "torch",
    "transformers",
    "sympy",
    "numba",
    "aiohttp",
    "pydantic",
    "openai",
    "mcp",
    "anthropic",
)
_CONVERT = """\
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
folder, file, target = sys.argv[1:]
plain = GgufConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, dtype=torch.bfloat16, quantization_config=plain
)
model.save_pretrained(target)
AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(target)
"""


def prepare(found: local.Running) -> Path:
    """Everything but the environment, made where it is missing; the folder that a claim shows to pods."""
    home = Path(os.environ[HOME])
    if not (home / "lib" / PYTHON).is_dir():
        raise RuntimeError(f"{home} was not made with {PYTHON}, which is what pods have")
    once(home / "lib" / "system", lambda unfinished: _copy_libraries(home, unfinished), name="vllm")
    once(home / "compiled", lambda unfinished: _compile(home, unfinished), name="vllm")
    once(home / MODEL, lambda unfinished: _convert(home, unfinished), name="vllm")
    archive = imageset.build(imageset.VLLM)
    node.run(*found.command("ctr", "--namespace", containers.NAMESPACE, "images", "import", str(archive)))
    return home


def claim(namespace: str) -> list[Manifest]:
    """Use it in a ModelTier as `pvc://vllm/models/smollm2`."""
    return models.claim(namespace, name=CLAIM, shown=Path(os.environ[HOME]))


def _copy_libraries(home: Path, unfinished: Path) -> None:
    """Libraries of this machine that vLLM's own link to, and that the base image lacks."""
    unfinished.mkdir()
    ours = sorted((home / "lib" / PYTHON / "site-packages" / "vllm").glob("*.so"))
    linked = subprocess.run(["ldd", *ours], capture_output=True, text=True, check=True).stdout
    for library in set(re.findall(r"=> (/\S*/libnuma\.so\S*)", linked)):
        shutil.copy(library, unfinished)


def _compile(home: Path, unfinished: Path) -> None:
    """A pod may not write beside the sources, and would compile 10,000 of them at every start."""
    with step("compiling vLLM's Python", typical_s=60):
        packages = [home / "lib" / PYTHON / "site-packages" / name for name in PACKAGES]
        argv = [str(home / "bin" / "python"), "-m", "compileall", "-q", "-j", "0", *map(str, packages)]
        # Not without an error: a file of torch's tests is for a later Python.
        subprocess.run(argv, capture_output=True, check=False)
    unfinished.touch()


def _convert(home: Path, unfinished: Path) -> None:
    """SmolLM2 in the form that vLLM reads, from the file that llama.cpp reads."""
    with (
        step("converting the model for vLLM", typical_s=50),
        tempfile.TemporaryDirectory() as converters,
    ):
        pip.unpack(Path(converters), *CONVERTERS)
        argv = [str(home / "bin" / "python"), "-c", _CONVERT]
        done = subprocess.run(
            [*argv, str(models.folder()), models.SMALL, str(unfinished)],
            env={**os.environ, "PYTHONPATH": converters, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"converting the model failed:\n{done.stderr[-2000:]}")
    for file in (unfinished, *unfinished.iterdir()):
        file.chmod(0o755 if file.is_dir() else 0o644)  # a pod's user is not ours
