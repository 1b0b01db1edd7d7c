"""What `modelfleet plan` refuses before it asks anybody."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelfleet.cli.main import app

CASCADE = "kind: Cascade\nmetadata: {name: chat}\nspec: {modelName: chat, tiers: [{name: s, tierRef: {name: small}}]}\n"
TIER = "kind: ModelTier\nmetadata: {name: small}\nspec: {llamaCpp: {}}\n"
FILES = {
    "two Cascades": (f"{CASCADE}---\n{CASCADE}", "has 2 Cascades: one at a time"),
    "no Cascade at all": (TIER, "say which one with --cascade"),
    "no YAML": ("{", "while parsing"),
    "not one of ours": ("kind: Cascade\nmetadata: {name: chat}\nspec: {}\n", "modelName"),
}


@pytest.mark.parametrize(("text", "says"), FILES.values(), ids=FILES)
def test_files_that_cannot_be_planned(tmp_path: Path, text: str, says: str):
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    found = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["plan", "-f", str(path)])

    assert found.exit_code == 1
    assert says in found.output
    assert "Traceback" not in found.output


def test_a_file_that_is_not_there(tmp_path: Path):
    found = CliRunner().invoke(app, ["plan", "-f", str(tmp_path / "gone.yaml")])

    assert found.exit_code == 1
    assert "No such file" in found.output


@pytest.mark.parametrize(
    "text", [None, "", "kind: Config\n", "{", "- 1\n"], ids=["gone", "empty", "bare", "no YAML", "a list"]
)
def test_without_a_cluster_it_says_so(tmp_path: Path, text: str | None):
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    found = CliRunner(env={"KUBECONFIG": str(path), "COLUMNS": "300"}).invoke(app, ["explain", "casc/chat"])

    assert found.exit_code == 1
    assert "set KUBECONFIG to a kubeconfig with a current context" in found.output, found.exception
