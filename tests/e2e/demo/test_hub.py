"""The hub's stand-in answers the real `huggingface_hub`, which is what the init container runs."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from e2e.demo.standins.hub import Hub

SHA = "a" * 40
TOKEN = "secret"
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "source.gguf"
    file.write_bytes(CONTENT)
    public = {"sha": SHA, "files": {"model.gguf": str(file), "README.md": str(file)}}

    class Served(Hub):
        repositories = {"owner/public": public, "owner/private": {**public, "token": TOKEN}}  # noqa: RUF012  # of one test

    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_downloads_what_matches(endpoint: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"

    snapshot_download(
        "owner/public", endpoint=endpoint, token=False, local_dir=folder, allow_patterns=["model.gguf"]
    )

    assert (folder / "model.gguf").read_bytes() == CONTENT
    assert not (folder / "README.md").exists()


def test_revision_is_a_commit(endpoint: str) -> None:
    assert HfApi(endpoint=endpoint, token=False).model_info("owner/public", revision="main").sha == SHA


def test_private_repository_wants_its_token(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises((RepositoryNotFoundError, HfHubHTTPError)):
        HfApi(endpoint=endpoint, token=False).model_info("owner/private")

    snapshot_download("owner/private", endpoint=endpoint, token=TOKEN, local_dir=tmp_path / "model")

    assert (tmp_path / "model" / "model.gguf").read_bytes() == CONTENT
