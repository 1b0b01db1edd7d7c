"""Whether the fluid tells the same story as the requests: the same hours of one trace on both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.capacity.experiment import TUNED_ON, Experiment
from bench.capacity.loads import Load, fleet, shares_of
from bench.figures import Figure, missing
from modelfleet.sim import traces
from modelfleet.sim.fleet import Arrival
from modelfleet.sim.fluid import Fluid
from modelfleet.sim.policies.grid import FAMILIES
from modelfleet.sim.world import World

POLICIES = ("joint", "hpa", "llmd-queue")
_SECONDS = 7200
_MODEL, _DAY = "m-large", 3


def run(x: Experiment, folder: Path) -> list[dict[str, Any]]:
    """Both models' attainment and GPU hours for each policy, tuned for 99 %."""
    days = _SECONDS / 86_400
    arrivals = list(traces.servegen(folder, _MODEL, mean_rps=60.0, day=_DAY, days=days))
    of = _load(arrivals)
    tested = x.cells.tested(of)
    cascade = fleet("cascade", of, tested.rates_rps)
    rows = []
    for name in POLICIES:
        constants = x.pick("cascade", f"{_MODEL}-{TUNED_ON}", name)
        if constants is None:
            continue
        family = FAMILIES[name]
        outcome = Fluid(
            cascade, of.lengths, family.build(cascade, tested, constants), tails=x.cells.tails(of)
        ).run(of.counts)
        policy = family.build(cascade, tested, constants)
        tally = World(cascade, arrivals, policy, entry=shares_of(cascade)).run(float(_SECONDS))
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
    """One of each policy: what the requests say beyond the fluid."""
    if not rows:
        return [missing("fluid_attainment_off", "points", "", "tuning had not been run yet")]
    found = []
    for row in rows:
        points = 100 * (row["requests"] - row["fluid"])
        gpu_h = 100 * (row["requests_gpu_h"] / row["fluid_gpu_h"] - 1)
        for name, value, unit in (
            ("fluid_attainment_off", points, "points more at request level"),
            ("fluid_gpu_hours_off", gpu_h, "% more at request level"),
        ):
            rounded = round(value, 3)
            found.append(Figure(f"{name}/{row['policy']}", rounded, rounded, rounded, unit, "", None))
    return found
