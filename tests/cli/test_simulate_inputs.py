"""What the command line gives, in numbers."""

from pathlib import Path

import pytest

from modelfleet.cli import simulate_inputs as inputs


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        pytest.param("2026-11-23T08:00+01:00", 1_795_417_200.0, id="with an offset"),
        pytest.param("2026-11-23T07:00", 1_795_417_200.0, id="without one: UTC"),
        pytest.param("2026-11-23", 1_795_392_000.0, id="midnight"),
    ],
)
def test_start(text: str, at_s: float):
    assert inputs.start_s(text) == at_s


@pytest.mark.parametrize(
    ("text", "span"),
    [
        pytest.param(None, (0.0, 0.0), id="never"),
        pytest.param("2h+10m", (7200.0, 7800.0), id="hours and minutes"),
        pytest.param("90+30s", (90.0, 120.0), id="seconds"),
    ],
)
def test_blind(text: str | None, span: tuple[float, float]):
    assert inputs.span_s(text) == span


def test_scores_are_read_by_the_names_of_tiers(tmp_path: Path):
    path = tmp_path / "scores.csv"
    path.write_text("big,small\n0,-0.5\n")

    assert inputs.scores(path, ["small", "big"])[0].scores == (-0.5, 0.0)
    with pytest.raises(ValueError, match=r"scores.csv: line 2 has no score of tier huge"):
        inputs.scores(path, ["small", "huge"])


def test_yaml_that_is_none_names_its_file(tmp_path: Path):
    path = tmp_path / "fleet.yaml"
    path.write_text("a: [1\n")

    with pytest.raises(ValueError, match=r"fleet.yaml is no YAML"):
        inputs.documents([path])


def test_settings_name_the_field_that_is_wrong(tmp_path: Path):
    path = tmp_path / "settings.yaml"
    path.write_text("capacity: {intervall: 15s}\n")

    with pytest.raises(ValueError, match=r"settings.yaml: capacity.intervall"):
        inputs.settings(path)


def test_a_folder_stands_for_its_yaml_files(tmp_path: Path):
    for name, text in {"b.yaml": "b: 1", "a.yml": "a: 1", "notes.txt": "no"}.items():
        (tmp_path / name).write_text(text)

    assert inputs.documents([tmp_path]) == [{"a": 1}, {"b": 1}]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty has no file that ends in .yaml"):
        inputs.documents([tmp_path / "empty"])
