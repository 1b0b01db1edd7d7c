"""The form of every bench/out/*.json: one list of figures, each with its range, its target and whether it was met."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out"


@dataclass(frozen=True)
class Figure:
    """One number; low and high are the extremes of its runs.  `why`: what stopped one that has no value."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    target: str
    met: bool | None
    why: str | None = None


def missing(name: str, unit: str, target: str, why: str) -> Figure:
    """A figure that could not be measured."""
    return Figure(name, None, None, None, unit, target, None, why)


def ranged(
    name: str,
    value: float,
    runs: Sequence[float],
    unit: str,
    *,
    at_most: float | None = None,
    digits: int = 3,
) -> Figure:
    """A value with the range of its runs, and whether it stays within its limit."""
    target = "" if at_most is None else f"<= {at_most:g}"
    met = None if at_most is None else value <= at_most
    low, high = min(runs), max(runs)
    return Figure(name, round(value, digits), round(low, digits), round(high, digits), unit, target, met)


def write(file: str, figures: Sequence[Figure]) -> dict[str, Any]:
    """Write bench/out/`file`; gives what was written."""
    result = {
        "date": datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "machine": machine(),
        "figures": [_row(figure) for figure in figures],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / file).write_text(json.dumps(result, indent=1) + "\n")
    return result


def known(file: str, name: str) -> Figure | None:
    """A figure that bench/out/`file` holds."""
    path = OUT / file
    held = json.loads(path.read_text())["figures"] if path.exists() else []
    return next((Figure(**one) for one in held if one["name"] == name), None)


def put(file: str, figures: Sequence[Figure]) -> None:
    """Put figures that were measured apart from the others into bench/out/`file`."""
    path = OUT / file
    if not path.exists():
        write(file, figures)
        return
    result = json.loads(path.read_text())
    names = {figure.name for figure in figures}
    others = [one for one in result["figures"] if one["name"] not in names]
    result["figures"] = others + [_row(figure) for figure in figures]
    path.write_text(json.dumps(result, indent=1) + "\n")


def _row(figure: Figure) -> dict[str, Any]:
    return {key: value for key, value in asdict(figure).items() if key != "why" or value}


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.machine()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.release()}"
