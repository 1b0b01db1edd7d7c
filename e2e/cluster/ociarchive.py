"""Images of one static program, written as OCI archives without any image tool."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NON_ROOT = "65532:65532"


@dataclass
class _Blobs:
    """Content by its digest, as the OCI image layout stores it."""

    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def write(archive: Path, image: str, programs: Mapping[str, Path], entrypoint: Sequence[str]) -> None:
    """An archive of `image` ("name:tag") that holds `programs` (path in the image -> file) and nothing else."""
    layer = _layer(programs)
    blobs = _Blobs()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "User": NON_ROOT},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blobs.add(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [blobs.add(layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    entry = blobs.add(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    # containerd names what it imports after this annotation.
    entry["annotations"] = {"io.containerd.image.name": image, "org.opencontainers.image.ref.name": image}
    blobs.files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    blobs.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with tarfile.open(archive, "w") as tar:
        for name, content in blobs.files.items():
            _add(tar, name, content, mode=0o644)


def _layer(programs: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, file in sorted(programs.items()):
            _add(tar, name.lstrip("/"), file.read_bytes(), mode=0o755)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)  # Time and owner stay zero: same input, same bytes.
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
