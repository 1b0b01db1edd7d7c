"""`make bench-capacity`: the experiment of docs/benchmarks.md, resumable; `--quick`: directions on synthetic loads."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import figures
from bench.capacity import agreement, ahead, exact, measure, quality, report
from bench.capacity.cells import Cells
from bench.capacity.experiment import OURS, Experiment, loads
from bench.capacity.measure import Comparison
from bench.capacity.quick import GRIDS, check
from bench.figures import Figure

_CACHE = Path.home() / ".cache" / "modelfleet" / "capacity"


def main() -> int:
    """Run it; gives the exit code."""
    asked = argparse.ArgumentParser(description=__doc__)
    traces = os.environ.get("MODELFLEET_TRACES")
    asked.add_argument(
        "--traces", type=Path, default=Path(traces) if traces else None, help="folder of the traces"
    )
    answers = os.environ.get("MODELFLEET_CASCADE_DATA")
    asked.add_argument(
        "--quality",
        type=Path,
        default=Path(answers) if answers else None,
        help="folder of what real models answered",
    )
    asked.add_argument("--cache", type=Path, default=_CACHE, help="where finished runs are kept")
    asked.add_argument(
        "--seconds", type=float, default=36_000.0, help="stop after so long; run again to go on"
    )
    asked.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes that run beside each other"
    )
    asked.add_argument("--quick", action="store_true", help="synthetic loads only, directions only")
    told = asked.parse_args()
    if told.quick:
        return quickly(told.cache)
    if told.traces is None or not told.traces.is_dir():
        print("no folder of traces: give --traces or MODELFLEET_TRACES (docs/simulate.md says what is in it)")
        return 2
    cells = Cells(told.cache, told.traces, seconds=told.seconds)
    ahead.run(cells, _fluid, jobs=told.jobs)
    x = Experiment(cells)
    found, figured = _fluid(x)
    results = [
        *figured,
        *measure.measured(_kept(cells, "exact", exact.everything)),
        *agreement.figures(
            _kept(cells, "agreement", lambda: agreement.run(x, told.traces, jobs=told.jobs)) or ()
        ),
        *quality.figures(_kept(cells, "quality", lambda: told.quality and quality.run(told.quality))),
    ]
    print("complete" if x.complete else "not complete: run it again, it goes on")
    written = figures.write("capacity.json", sorted(results, key=lambda one: measure.rank(one.name)))
    report.document(written, found)
    return 0


def _fluid(x: Experiment) -> tuple[list[Comparison], list[Figure]]:
    """All that the fluid tells: everybody on every load, then one thing changed at a time."""
    found = [Comparison(x, fleet, *load) for load in loads() for fleet in OURS]
    figured = [
        *measure.compared(found),
        *measure.flips(x, found),
        *measure.swept(x),
        *measure.ablated(x),
        *report.reached(x, found),
    ]
    return found, figured


def quickly(cache: Path) -> int:
    """Directions only; prints what does not hold."""
    wrong = check(Experiment(Cells(cache, None, seconds=600.0), grids=GRIDS))
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    print("the directions hold" if not wrong else f"{len(wrong)} directions do not hold")
    return 1 if wrong else 0


def _kept(cells: Cells, name: str, run: Callable[[], Any]) -> Any:
    """Measured once for a state of the source; None where time is up before it could be."""
    kept = cells.folder / f"{name}-{exact.digest()}.json"
    if not kept.exists():
        found = None if cells.late else run()
        if not found:
            return None
        kept.write_text(json.dumps(found))
    return json.loads(kept.read_text())


if __name__ == "__main__":
    sys.exit(main())
