"""Archives without an image tool: the same bytes every time, under the name that containerd will use."""

import hashlib
import json
import tarfile
from pathlib import Path

from e2e.cluster import ociarchive


def written(folder: Path, name: str) -> Path:
    program = folder / "program"
    program.write_bytes(b"\x7fELF")
    archive = folder / name
    ociarchive.write(archive, "localhost/x:1", {"/bin/x": program}, ["/bin/x"])
    return archive


def test_same_input_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path, "a.tar").read_bytes() == written(tmp_path, "b.tar").read_bytes()


def test_every_blob_has_its_digest_as_name(tmp_path: Path) -> None:
    with tarfile.open(written(tmp_path, "a.tar")) as tar:
        blobs = [member for member in tar if member.name.startswith("blobs/sha256/")]
        contents = {Path(blob.name).name: tar.extractfile(blob) for blob in blobs}
        for digest, content in contents.items():
            assert content is not None
            assert hashlib.sha256(content.read()).hexdigest() == digest
    assert len(blobs) == 3


def test_the_index_names_the_image(tmp_path: Path) -> None:
    with tarfile.open(written(tmp_path, "a.tar")) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        (manifest,) = json.load(index)["manifests"]

    assert manifest["annotations"]["io.containerd.image.name"] == "localhost/x:1"
