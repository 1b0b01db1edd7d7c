import pytest

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
