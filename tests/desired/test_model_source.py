import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from e2e.demo.standins.hub import Hub
from modelfleet.api.fleet_settings import HubSettings
from modelfleet.desired import model_source
from tests.make import SETTINGS, tier

COMMIT = "0123456789abcdef0123456789abcdef01234567"

PATHS = {
    "a file in a volume": ({"uri": "pvc://models/a/b.gguf"}, None, "/model/a/b.gguf"),
    "a folder in a volume, and the file in it": (
        {"uri": "pvc://models/a", "file": "b.gguf"},
        None,
        "/model/a/b.gguf",
    ),
    "a whole volume": ({"uri": "pvc://models", "file": "b.gguf"}, None, "/model/b.gguf"),
    "a file of a repository": ({"uri": "hf://o/r", "file": "b.gguf"}, COMMIT, f"/model/o--r/{COMMIT}/b.gguf"),
    "a branch that could not be resolved": (
        {"uri": "hf://o/r", "revision": "refs/pr/1", "file": "b.gguf"},
        None,
        "/model/o--r/refs--pr--1/b.gguf",
    ),
}


@pytest.mark.parametrize(("source", "revision", "want"), PATHS.values(), ids=PATHS)
def test_path(source: dict[str, str], revision: str | None, want: str):
    assert model_source.mounted(tier(model=source), SETTINGS, revision=revision).path == want


def test_the_engine_cannot_write_into_the_model():
    for uri in ("pvc://models/b.gguf", "hf://o/r"):
        assert model_source.mounted(tier(model={"uri": uri}), SETTINGS, revision=COMMIT).mount["readOnly"]


def test_a_gguf_in_pieces_is_downloaded_whole():
    source = {"uri": "hf://o/r", "file": "q4/big-00001-of-00003.gguf"}

    [download] = model_source.mounted(tier(model=source), SETTINGS, revision=COMMIT).init_containers

    assert download["command"][-3:] == ["o/r", COMMIT, "q4/big-*-of-00003.gguf"]


def test_source_id_changes_with_what_is_resolved():
    def source_of(**changes: str) -> str | None:
        source = tier(model={"uri": "hf://o/r", **changes}).spec.model
        assert source
        return model_source.source_id(source)

    assert source_of() == "hf://o/r@main"
    assert source_of(revision="v2") == "hf://o/r@v2"
    assert source_of(uri="pvc://claim/x.gguf") is None


def test_only_a_full_hash_is_a_commit():
    assert model_source.is_commit(COMMIT)
    assert not model_source.is_commit("main")
    assert not model_source.is_commit(COMMIT[:12])


REPOSITORY, TOKEN = "acme/tiny", "secret-token"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """Base URL of a hub with one private repository of three files."""
    files = {name: tmp_path / "hub" / name for name in ("a.gguf", "b.gguf", "README.md")}
    (tmp_path / "hub").mkdir()
    for name, file in files.items():
        file.write_bytes(name.encode() * 1000)
    stored = {"sha": COMMIT, "token": TOKEN, "files": {name: str(file) for name, file in files.items()}}
    handler = type("OneRepository", (Hub,), {"repositories": {REPOSITORY: stored}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def download(
    hub: str, folder: Path, *, token: str = TOKEN, revision: str = COMMIT
) -> subprocess.CompletedProcess[str]:
    """Run the real init container's command here, into `folder` instead of the volume."""
    settings = SETTINGS.model_copy(update={"hub": HubSettings(endpoint=hub)})
    source = {"uri": f"hf://{REPOSITORY}", "file": "a.gguf"}
    [container] = model_source.mounted(tier(model=source), settings, revision=revision).init_containers
    [_, *arguments] = [
        each.replace(model_source.MODEL_FOLDER, str(folder), 1) for each in container["command"]
    ]
    env = {each["name"]: each["value"] for each in container["env"]} | {
        "HF_TOKEN": token,
        "HF_HOME": str(folder),
    }
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_only_the_wanted_file_is_downloaded_and_only_once(hub: str, tmp_path: Path):
    made = tmp_path / "volume" / "acme--tiny" / COMMIT

    first = download(hub, tmp_path / "volume")

    assert first.returncode == 0, first.stderr
    assert (made / "a.gguf").read_bytes() == b"a.gguf" * 1000
    assert not (made / "b.gguf").exists()

    again = download("http://127.0.0.1:9", tmp_path / "volume")
    assert (again.returncode, "is here already" in again.stdout) == (0, True)


def test_a_refused_download_says_so_in_one_line(hub: str, tmp_path: Path):
    refused = download(hub, tmp_path / "volume", token="wrong")

    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith(f"cannot download {REPOSITORY}@{COMMIT}: ")
    assert not (tmp_path / "volume" / "acme--tiny" / COMMIT / ".complete").exists()
