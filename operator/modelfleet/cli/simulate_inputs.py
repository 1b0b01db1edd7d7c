"""What `modelfleet simulate` is given, read and checked: every mistake is a ValueError that says what to write."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.sim import questions, traces
from modelfleet.sim.arrivals import Day, staged, synthetic
from modelfleet.sim.fleet import Arrival, Question

_SERVEGEN = ("m-small", "m-mid", "m-large", "deepseek-r1")
LOADS = (
    "synthetic",
    "staged",
    "azure-conv",
    "azure-code",
    "mooncake",
    *(f"servegen-{name}" for name in _SERVEGEN),
)
_STAGES = ((2, 330), (4, 360), (6, 360), (8, 360), (10, 360), (4, 360), (1, 300))
_REMEMBERED_BLOCKS = 20_000  # of 512 tokens, that a tier has in its prefix caches
_QUESTIONS = 1 << 30
_SPAN = re.compile(r"([0-9.]+)([smh]?)\+([0-9.]+)([smh]?)")
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def documents(files: Sequence[Path]) -> list[Any]:
    """All YAML documents of all files; a folder stands for the YAML files in it."""
    found: list[Any] = []
    for path in (one for given in files for one in _in(given)):
        try:
            found += yaml.safe_load_all(path.read_text())
        except OSError as err:
            raise ValueError(f"{path} cannot be read: {err.strerror}") from None
        except yaml.YAMLError as err:
            raise ValueError(f"{path} is no YAML: {' '.join(str(err).split())}") from None
    return found


def _in(given: Path) -> Sequence[Path]:
    if not given.is_dir():
        return [given]
    inside = sorted(path for path in given.iterdir() if path.suffix in (".yaml", ".yml"))
    if not inside:
        raise ValueError(f"{given} has no file that ends in .yaml or .yml")
    return inside


def settings(path: Path | None) -> FleetSettings:
    """The operator's settings; its defaults without a file."""
    if path is None:
        return FleetSettings()
    try:
        return FleetSettings.model_validate(yaml.safe_load(path.read_text()) or {})
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}") from None


def start_s(text: str) -> float:
    """A date and time of day, as seconds since the epoch; UTC where no offset is given."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"--start {text} is no time: write it as 2026-11-23T08:00+01:00, UTC without an offset"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def span_s(text: str | None) -> tuple[float, float]:
    """`2h+10m`: from when, and for how long."""
    if text is None:
        return 0.0, 0.0
    found = _SPAN.fullmatch(text)
    try:
        begin, unit, length, other = found.groups() if found else ("", "", "", "")
        from_s = float(begin) * _UNIT_S[unit]
        return from_s, from_s + float(length) * _UNIT_S[other]
    except ValueError:
        raise ValueError(f"--blind {text} is no span: write from when and for how long, as 2h+10m") from None


def scores(path: Path | None, steps: Sequence[str]) -> list[Question]:
    """One question a row; none without a file."""
    if path is None:
        return []
    with path.open(newline="") as lines:
        try:
            return questions.questions(list(csv.DictReader(lines)), steps)
        except ValueError as err:
            raise ValueError(f"{path}: {err}") from None


def pairs(given: Sequence[str], how: str, among: Sequence[Any]) -> dict[str, str]:
    """`TIER=VALUE`s of ModelTiers that there are."""
    tiers = sorted(
        str((document.get("metadata") or {}).get("name"))
        for document in among
        if isinstance(document, dict) and document.get("kind") == "ModelTier"
    )
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not value:
            raise ValueError(f"{one!r} is not {how}")
        if name not in tiers:
            raise ValueError(f"{one!r}: no file has ModelTier {name!r}; there are: {', '.join(tiers)}")
        found[name] = value
    return found


def prices(given: Sequence[str], among: Sequence[Any]) -> dict[str, float]:
    """US dollars per replica and hour, by ModelTier."""
    return {name: _dollars(value) for name, value in pairs(given, "--price TIER=USD", among).items()}


def positive(given: Mapping[str, float | None]) -> None:
    """Raises ValueError for what is no number above 0."""
    for option, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{option} {value:g} is of no use: give a number above 0")


def check_load(trace: str, folder: Path | None) -> None:
    """Raises ValueError where a load is not known, or not there."""
    if trace not in LOADS:
        raise ValueError(f"there is no load {trace!r}; there are: {', '.join(LOADS)}")
    if trace in ("synthetic", "staged"):
        return
    if folder is None:
        text = "give --traces or MODELFLEET_TRACES (docs/simulate.md says what is in it)"
        raise ValueError(f"{trace} is read from a folder: {text}")
    missing = [name for name in _files(trace) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{trace} needs {', '.join(missing)} in {folder}")


def arrivals(
    trace: str, folder: Path | None, *, rps: float, seconds: float, day: int, seed: int
) -> Iterator[Arrival]:
    """The requests of a load that `check_load` has found."""
    if trace == "synthetic":
        return synthetic(Day(mean_rps=rps), seconds=seconds, seed=seed, questions=_QUESTIONS)
    if trace == "staged":
        return staged(_STAGES, prompt=4000, output=1000, seed=seed)
    assert folder is not None, "check_load has found it"
    first = folder / _files(trace)[0]
    if trace.startswith("azure-"):
        return traces.azure(first, seed=seed)
    if trace == "mooncake":
        return traces.mooncake(first, cached_blocks=_REMEMBERED_BLOCKS, seed=seed)
    model = trace.removeprefix("servegen-")
    return traces.servegen(folder, model, mean_rps=rps, day=day, days=seconds / 86_400, seed=seed)


def _files(trace: str) -> list[str]:
    """What a load is read from."""
    if trace.startswith("azure-"):
        return [f"azure_llm_2023_{trace.removeprefix('azure-')}.csv.gz"]
    if trace == "mooncake":
        return ["mooncake_fast25_conversation.jsonl.gz"]
    return [f"{trace.replace('-', '_', 1)}_{part}.csv.gz" for part in ("clients", "lengths6h")]


def _dollars(value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(f"{value} is no price: give dollars, 0 or more")
    return found
