"""Runs what the experiment will ask for on all cores, before it asks.

It is asked without running anything until it asks for nothing new: the constants that tuning chose are known only when
the grid has run.  Workers compute, and one process writes.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.capacity.cells import Cell, Cells
from bench.capacity.experiment import Experiment

_HOUR_S = 3600.0
_worker: list[Cells] = []  # of a worker process: its own, with the loads that it has read


def run(cells: Cells, ask: Callable[[Experiment], object], *, jobs: int) -> None:
    """Run all cells that `ask` needs, on so many processes, until time is up."""
    with ProcessPoolExecutor(jobs, initializer=_start, initargs=(cells.folder, cells.traces)) as pool:
        while not cells.late and (wanted := cells.wanted(lambda: ask(Experiment(cells)))):
            print(f"==> {len(wanted)} runs on {jobs} processes", flush=True)
            factors = {(one.load, one.conditions.get("step_factor", 1.0)): one for one in wanted}
            list(pool.map(_tails, factors))
            for cell, row in zip(wanted, pool.map(_run, wanted), strict=True):
                cells.keep(cell, row)
                if cells.late:
                    pool.shutdown(cancel_futures=True)
                    return


def _start(folder: Path, traces: Path | None) -> None:
    _worker.append(Cells(folder, traces, seconds=_HOUR_S))


def _tails(load_and_factor: tuple[str, float]) -> None:
    """Measured before anything runs, so that not every worker does it."""
    load, factor = load_and_factor
    _worker[0].tails(_worker[0].load(load))
    _worker[0].tails(_worker[0].load(load), step_factor=factor)


def _run(cell: Cell) -> dict[str, Any]:
    return _worker[0].computed(cell)
