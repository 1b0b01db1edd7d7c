"""Finished runs, kept in a file: the experiment can be stopped and goes on where it was.

A cell's key names what it ran and a digest of the source it ran on, so a changed simulator or planner runs again, and
peers do not run again because our planner changed.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.capacity.loads import BIG, SMALL, Load, fleet, load, peak_replicas, shares_of
from bench.figures import ROOT
from modelfleet.sim import tail
from modelfleet.sim.fleet import Cascade, Conditions
from modelfleet.sim.fluid import Fluid
from modelfleet.sim.policies.grid import FAMILIES, Measured
from modelfleet.sim.policies.oracle import Oracle
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.policy import Policy
from modelfleet.sim.tail import Tail

KEPT = 0.99  # of the requests within the objectives, in a load test of one replica
SOURCE = ROOT / "operator" / "modelfleet"
_TAILS = (
    "plan/engine",
    "plan/sizing",
    "plan/profiles",
    "sim/meter",
    "sim/fleet",
    "sim/tail",
    "sim/traces",
    "sim/arrivals",
)
_COMMON = (*_TAILS, "route/bank", "route/law", "sim/entries", "sim/fluid", "sim/tally")
_PEERS = ("sim/policies/simple", "sim/policies/peers", "sim/policies/oracle")
_OURS = (
    "plan/planner",
    "plan/look",
    "plan/misses",
    "plan/rails",
    "plan/margin",
    "plan/bias",
    "plan/forecast",
    "plan/outage",
    "plan/fill",
    "plan/joint",
    "sim/policies/ours",
)


@dataclass(frozen=True)
class Cell:
    """One run.  `constants` None: as shipped."""

    fleet: str  # one, cascade
    load: str
    family: str
    constants: tuple[float, ...] | None = None
    conditions: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def key(self) -> str:
        words = [self.fleet, self.load, self.family, json.dumps(self.constants), json.dumps(self.conditions)]
        ours = self.family in FAMILIES and FAMILIES[self.family].ours
        return " ".join([*words, str(self.seed), _digest((*_COMMON, *(_OURS if ours else _PEERS)))])


@cache
def _digest(modules: tuple[str, ...]) -> str:
    found = sha256()
    for module in modules:
        path = SOURCE / f"{module}.py"
        found.update(path.read_bytes() if path.exists() else b"")
    return found.hexdigest()[:12]


class Cells:
    """Runs what is not in the file yet, until `deadline_s` of the clock has passed."""

    def __init__(self, folder: Path, traces: Path | None, *, seconds: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.traces = folder, traces
        self._file = folder / "cells.jsonl"
        self._until_s = time.monotonic() + seconds
        self._known: dict[str, dict[str, Any]] = {}
        self._wanted: dict[str, Cell] | None = None  # None: what is not known is run
        self._loads: dict[str, Load] = {}
        self._tails: dict[str, Mapping[str, Tail]] = {}
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                row = json.loads(line)
                self._known[row["key"]] = row

    @property
    def late(self) -> bool:
        """No time is left to run anything."""
        return time.monotonic() > self._until_s

    def load(self, name: str) -> Load:
        if name not in self._loads:
            self._loads[name] = load(name, self.traces, self.folder)
        return self._loads[name]

    def tails(self, of: Load, *, step_factor: float = 1.0) -> Mapping[str, Tail]:
        """By tier, measured once for a state of the source: seconds each."""
        lengths = f"{of.lengths.prompt:.0f}-{of.lengths.output:.0f}-{of.lengths.cached:.0f}"
        name = f"tails-{lengths}-{step_factor:g}-{_digest(_TAILS)}"
        if name not in self._tails:
            kept = self.folder / f"{name}.json"
            if not kept.exists():
                found = {
                    tier.name: asdict(tail.measure(tier.engine.times(step_factor), of.requests, of.slo))
                    for tier in (SMALL, BIG)
                }
                # Several processes may measure the same: each writes a file of its own, and the last one stays.
                written = kept.with_suffix(f".{os.getpid()}")
                written.write_text(json.dumps(found))
                written.replace(kept)
            self._tails[name] = {tier: Tail(**one) for tier, one in json.loads(kept.read_text()).items()}
        return self._tails[name]

    def tested(self, of: Load) -> Measured:
        """What a load test of one replica finds: the rate that nine and ninety of a hundred requests survive."""
        rates_rps = {tier: one.rate_rps(KEPT) for tier, one in self.tails(of).items()}
        return Measured(of.lengths, rates_rps)

    def run(self, cell: Cell) -> dict[str, Any] | None:
        """What came out; None where time is up before it could run."""
        key = cell.key()
        if key in self._known:
            return self._known[key]
        if self._wanted is not None:
            self._wanted[key] = cell
            return None
        if self.late:
            return None
        row = self.computed(cell)
        self.keep(cell, row)
        return row

    def wanted(self, ask: Callable[[], object]) -> list[Cell]:
        """What `ask` would run now, without running it; what the answers would lead it to is not among it."""
        self._wanted = {}
        try:
            ask()
            return list(self._wanted.values())
        finally:
            self._wanted = None

    def computed(self, cell: Cell) -> dict[str, Any]:
        """Run it, and tell nobody."""
        of = self.load(cell.load)
        tested = self.tested(of)
        cascade = fleet(cell.fleet, of, tested.rates_rps)
        started_s = time.process_time()
        conditions = Conditions(**cell.conditions)
        policy = _policy(cell, cascade, of, tested)
        cascade = _sized(cell, cascade, of, tested)
        tails = self.tails(of, step_factor=conditions.step_factor)
        fluid = Fluid(cascade, of.lengths, policy, conditions=conditions, seed=cell.seed, tails=tails)
        outcome = fluid.run(of.counts)
        cpu_s = time.process_time() - started_s
        return {"key": cell.key(), **asdict(outcome), "policy": policy.name, "cpu_s": cpu_s}

    def keep(self, cell: Cell, row: dict[str, Any]) -> None:
        """Put it into the file."""
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._known[row["key"]] = row
        print(
            f"{time.strftime('%H:%M:%S')} {cell.fleet:8} {cell.load:12} {cell.family:10} {cell.constants}"
            f"  {100 * row['attainment']:6.2f} %  {row['gpu_h']:7.1f} GPU-h  {row['flips_per_day']:4.0f} flips"
            f"  share {row['share_last']:.3f}/{row['share_last_worst_hour']:.3f}  {row['cpu_s']:.1f} s",
            flush=True,
        )


def _policy(cell: Cell, cascade: Cascade, of: Load, tested: Measured) -> Policy:
    if cell.family == "oracle":
        return Oracle(tested.rates(cascade, cell.constants or (1.0,)), of.counts, shares_of(cascade))
    if cell.family == "static":
        return Static()
    family = FAMILIES[cell.family]
    if cell.constants is None:
        assert family.shipped is not None
        return family.shipped()
    return family.build(cascade, tested, cell.constants)


def _sized(cell: Cell, cascade: Cascade, of: Load, tested: Measured) -> Cascade:
    """A static fleet is as large as a part of the busiest minute needs, from the start."""
    if cell.family != "static" or cell.constants is None:
        return cascade
    sizes = peak_replicas(cascade, of, tested.rates_rps, cell.constants[0])
    return replace(
        cascade,
        tiers=tuple(
            replace(tier, replicas_start=sizes[tier.name], replicas_max=max(sizes[tier.name], 1))
            for tier in cascade.tiers
        ),
    )
