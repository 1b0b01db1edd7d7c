"""Whether the fluid tells the same story as the requests: the same hours of one trace on both."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.capacity.cells import Cells
from bench.capacity.experiment import TUNED_ON, Experiment
from bench.capacity.loads import Load, fleet, shares_of
from bench.figures import Figure, missing
from modelfleet.sim import traces
from modelfleet.sim.fleet import Arrival
from modelfleet.sim.fluid import Fluid
from modelfleet.sim.policies.grid import FAMILIES, Constants
from modelfleet.sim.world import World

POLICIES = ("joint", "kubeai", "hpa", "llmd-queue")
SEEDS = (0, 1, 2, 3, 4)
_SECONDS = 3600
_MODEL, _DAY = "m-large", 3


def run(x: Experiment, folder: Path, *, jobs: int) -> list[dict[str, Any]]:
    """Both models' attainment and GPU hours for each policy, tuned for 99 %, and each seed of arrivals and pods."""
    picked = {name: x.pick("cascade", f"{_MODEL}-{TUNED_ON}", name) for name in POLICIES}
    tuned = {name: constants for name, constants in picked.items() if constants is not None}
    with ProcessPoolExecutor(jobs) as pool:
        rows = pool.map(partial(_seeded, x.cells.folder, folder, tuned), SEEDS)
        return [row for seeded in rows for row in seeded]


def _seeded(cache: Path, folder: Path, tuned: Mapping[str, Constants], seed: int) -> list[dict[str, Any]]:
    cells = Cells(cache, folder, seconds=0.0)
    days = _SECONDS / 86_400
    arrivals = list(traces.servegen(folder, _MODEL, mean_rps=60.0, day=_DAY, days=days, seed=seed))
    of = _load(arrivals)
    tested = cells.tested(of)
    cascade = fleet("cascade", of, tested.rates_rps)
    rows = []
    for name, constants in tuned.items():
        family = FAMILIES[name]
        outcome = Fluid(
            cascade, of.lengths, family.build(cascade, tested, constants), tails=cells.tails(of), seed=seed
        ).run(of.counts)
        policy = family.build(cascade, tested, constants)
        tally = World(cascade, arrivals, policy, entry=shares_of(cascade), seed=seed).run(float(_SECONDS))
        rows.append(
            {
                "policy": name,
                "fluid": outcome.attainment,
                "requests": tally.attainment,
                "fluid_gpu_h": outcome.gpu_h,
                "requests_gpu_h": tally.gpu_h,
            }
        )
        print(rows[-1], flush=True)
    return rows


def _load(arrivals: Sequence[Arrival]) -> Load:
    counts = [0.0] * _SECONDS
    for one in arrivals:
        counts[min(_SECONDS - 1, int(one.at_s))] += 1
    return Load("agreement", counts, arrivals[:: max(1, len(arrivals) // 20_000)])


def figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What each policy reached at request level, over seeds, and how far the fluid was from it."""
    if not rows:
        return [
            missing(
                "fluid_attainment_off",
                "points",
                "",
                "the time given was over before it could run; run it again, it goes on",
            )
        ]
    found = []
    for policy in dict.fromkeys(row["policy"] for row in rows):
        mine = [row for row in rows if row["policy"] == policy]
        for name, unit, values in (
            (
                "requests_attainment",
                "% in the hour at request level",
                [100 * row["requests"] for row in mine],
            ),
            ("requests_gpu_hours", "GPU hours of that hour", [row["requests_gpu_h"] for row in mine]),
            (
                "fluid_attainment_off",
                "points more at request level",
                [100 * (row["requests"] - row["fluid"]) for row in mine],
            ),
            (
                "fluid_gpu_hours_off",
                "% more at request level",
                [100 * (row["requests_gpu_h"] / row["fluid_gpu_h"] - 1) for row in mine],
            ),
        ):
            low, middle, high = (round(one, 3) for one in (min(values), median(values), max(values)))
            found.append(Figure(f"{name}/{policy}", middle, low, high, unit, "", None))
    return found
