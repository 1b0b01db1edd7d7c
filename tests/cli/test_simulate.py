"""`modelfleet simulate` as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelfleet.cli.main import app
from tests.sim.written import CASCADE, TIERS

OPERATOR = Path(__file__).parents[2] / "operator"
# There are no questions here, so nothing could be judged.
ACCEPT = ', accept: {signal: MeanLogprob, threshold: "-0.5"}'


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(f"{TIERS}---{CASCADE.replace(ACCEPT, '')}")
    return path


def run(*args: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["simulate", *map(str, args)])
    return found.exit_code, found.output


def test_the_operator_carries_no_simulator():
    code = (
        "import sys, modelfleet.cli.main; print([name for name in sys.modules if 'modelfleet.sim' in name])"
    )
    environment = {**os.environ, "PYTHONPATH": str(OPERATOR)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert found.stdout.strip() == "[]"


def test_two_policies_on_the_same_load(fleet: Path, tmp_path: Path):
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    code, text = run(
        "-f", fleet, "--hours", 0.05, "--rps", 5, "--against", "hpa", "--json", out, "--html", page
    )
    results = json.loads(out.read_text())["results"]

    assert code == 0, text
    assert [one["policy"] for one in results] == ["operator", "hpa"]
    assert results[0]["requests"] == results[1]["requests"] > 400
    assert "served within SLO" in text
    assert "<script" in page.read_text()
    assert "<script src" not in page.read_text()  # nothing is loaded from elsewhere


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(
            ["--policy", "foo"], "there is no policy 'foo'; there are: operator, joint", id="policy"
        ),
        pytest.param(["--trace", "azure"], "there is no load 'azure'; there are: synthetic", id="load"),
        pytest.param(["--trace", "azure-conv"], "give --traces or MODELFLEET_TRACES", id="no folder"),
        pytest.param(
            ["--trace", "azure-conv", "--traces", "."],
            "needs azure_llm_2023_conv.csv.gz in .",
            id="not in the folder",
        ),
        pytest.param(
            ["--rps", "-1"], "--rps -1 is of no use: give a number above 0", id="a load below nothing"
        ),
        pytest.param(["--ttft", "nan"], "--ttft nan is of no use: give a number above 0", id="no number"),
        pytest.param(
            ["--profile", "llama-9b=8b-h100"],
            "no file has ModelTier 'llama-9b'; there are: llama-70b, llama-8b",
            id="a profile of nobody",
        ),
        pytest.param(
            ["--price", "llama-8b=x"], "x is no price: give dollars, 0 or more", id="a price in words"
        ),
        pytest.param(["--start", "8 am"], "--start 8 am is no time: write it as 2026-", id="no time"),
        pytest.param(["--blind", "2h"], "--blind 2h is no span: write from when", id="no span"),
        pytest.param(["--hours", "0"], "--hours 0 is of no use", id="no hours"),
        pytest.param(
            ["--html", "/none/page.html"],
            "cannot be written: there is no folder /none",
            id="no folder for the page",
        ),
        pytest.param(["--price", "llama-8b=-1"], "-1 is no price: give dollars, 0 or more", id="no price"),
        pytest.param(["--profile", "llama-8b"], "is not --profile TIER=PROFILE", id="no pair"),
    ],
)
def test_a_mistake_is_told_in_a_line(fleet: Path, args: list[str], says: str):
    code, text = run("-f", fleet, *args)

    assert code == 2
    assert says in " ".join(text.split())
    assert "Traceback" not in text


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    code, text = run("-f", tmp_path / "none.yaml")

    assert code == 2
    assert "none.yaml cannot be read: No such file or directory" in " ".join(text.split())


def test_a_trace_that_ends_early_is_told(fleet: Path):
    code, text = run("-f", fleet, "--trace", "staged", "--hours", 0.9, "--policy", "static")

    assert code == 0
    assert "the load ends after 0.68 h, and the fleet runs on until 0.9 h" in text


def test_who_knows_the_load_beforehand_runs_beside_the_others(fleet: Path):
    code, text = run(
        "-f", fleet, "--hours", 0.05, "--rps", 5, "--policy", "peak", "--against", "oracle", "--profile", "llama-8b=8b-h100"
    )  # fmt: skip

    assert code == 0, text
    assert "GPU hours would do if replicas could be split" in text
