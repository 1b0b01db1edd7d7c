"""The experiment: tune on one day, freeze, compare on others; then one thing changed at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.capacity.cells import Cell, Cells
from bench.capacity.fronts import Point, tuned
from modelfleet.sim.policies.grid import FAMILIES

# Every policy is tuned for each of them, so it has a front of its own.
GOALS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9975, 0.999)
OURS = {"one": "lead", "cascade": "joint"}
PEERS = tuple(name for name, family in FAMILIES.items() if not family.ours)
STATIC = ((0.6,), (0.7,), (0.85,), (1.0,), (1.2,))
# The oracle is tuned on the very day that it is run on.
ORACLE = (
    *((part, part) for part in (0.8, 1.0, 1.1, 1.2, 1.3)),
    *((small, big) for small in (1.0, 1.2) for big in (1.5, 1.8, 2.1)),
)
TUNED_ON = 1
DAYS: Mapping[str, Sequence[int]] = {"m-large": (3, 9), "m-small": (5, 10), "m-mid": (8, 11)}
HOURS = ("azure-conv", "azure-code", "mooncake")  # one hour each: nothing to tune on, so as for m-large
SWEPT = "m-large-3"
SWEEPS: Mapping[str, Sequence[Mapping[str, float]]] = {
    "cold start": [{"cold_start_factor": factor} for factor in (0.25, 0.5, 2.0, 5.0)],
    "metric lag": [{"lag_s": lag} for lag in (0.0, 30.0, 60.0)],
    "scrape loss": [{"scrape_loss": 0.2}],
    "step time": [{"step_factor": factor} for factor in (0.8, 1.2)],
}
Grid = Sequence[tuple[float, ...]]
GRIDS: Mapping[str, Grid] = {"static": STATIC, "oracle": ORACLE}
ABLATIONS = ("no-bank", "no-quantile", "no-joint", "routed", "router-only")


class Experiment:
    """Everything that has been run, by what was asked."""

    def __init__(self, cells: Cells, *, grids: Mapping[str, Grid] | None = None) -> None:
        """`grids`: by family, instead of the full ones."""
        self.cells = cells
        self._grids = {**GRIDS, **(grids or {})}
        self.complete = True
        self._tuned: dict[tuple[str, str, str], list[Point]] = {}

    def point(self, cell: Cell) -> Point | None:
        row = self.row(cell)
        if row is None:
            return None
        return Point(row["attainment"], row["gpu_h"], row["flips_per_day"], cell.constants)

    def row(self, cell: Cell) -> dict[str, Any] | None:
        row = self.cells.run(cell)
        self.complete = self.complete and row is not None
        return row

    def picks(self, fleet: str, day: str, family: str) -> Sequence[tuple[float, ...]]:
        """The constants that tuning on that day chose, one for each goal, each once."""
        if (fleet, day, family) not in self._tuned:
            grid = self._grid(fleet, family)
            runs = [self.point(Cell(fleet, day, family, constants)) for constants in grid]
            # Tuned on a part of its grid it would be a straw man.
            self._tuned[fleet, day, family] = whole(runs)
        points = self._tuned[fleet, day, family]
        if not points:
            return ()
        found = [tuned(points, goal).constants for goal in GOALS]
        return [constants for constants in dict.fromkeys(found) if constants is not None]

    def pick(self, fleet: str, day: str, family: str) -> tuple[float, ...] | None:
        """The constants tuned for 99 %."""
        if not self.picks(fleet, day, family):
            return None
        return tuned(self._tuned[fleet, day, family], 0.99).constants

    def _grid(self, fleet: str, family: str) -> Grid:
        if family in self._grids:
            return self._grids[family]
        found = FAMILIES[family]
        return found.alone if fleet == "one" and found.alone else found.grid

    def front(self, fleet: str, load: str, family: str, tuned_on: str) -> list[Point]:
        picks = self.picks(fleet, tuned_on, family)
        return whole([self.point(Cell(fleet, load, family, constants)) for constants in picks])


def whole(points: Sequence[Point | None]) -> list[Point]:
    """All of them, or none where one is missing."""
    found = [point for point in points if point is not None]
    return found if len(found) == len(points) else []


def loads(*, hours: bool = True) -> list[tuple[str, str]]:
    """Loads to compare on, and the day that policies were tuned on for each; what tells most comes first."""
    second = [(f"{name}-{days[1]}", f"{name}-{TUNED_ON}") for name, days in DAYS.items()]
    first = [(f"{name}-{days[0]}", f"{name}-{TUNED_ON}") for name, days in DAYS.items()]
    short = [(name, f"m-large-{TUNED_ON}") for name in HOURS if hours]
    return [*first[:1], *short, *first[1:], *second]
