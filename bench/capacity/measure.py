"""From finished cells to figures: equal attainment, each load its own figure, nothing left out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from bench.capacity import bound, fronts
from bench.capacity.cells import Cell
from bench.capacity.experiment import ABLATIONS, OURS, PEERS, SWEEPS, SWEPT, TUNED_ON, Experiment, whole
from bench.capacity.fronts import Point
from bench.figures import Figure, missing

LATE = "the time given was over before it could run; run it again, it goes on"
NAMES = (
    "cascade_gpu_hours_vs_best_tuned_peer",
    "single_tier_gpu_hours_vs_best_tuned_peer",
    "gpu_hours_vs_shipped_llmd",
    "gpu_hours_vs_shipped_wva",
    "gpu_hours_vs_oracle",
    "staged_ramp_attainment_percent",
    "staged_ramp_mean_replicas",
    "flips_vs_tuned_hpa",
    "scrape_loss_attainment_cost_points",
    "scrape_loss_wrong_scale_downs",
    "decision_4_tiers_ms",
    "decision_500_cascades_s",
    "itl_error_percent",
    "ttft_error_percent",
    "simulated_requests_per_minute",
)


def figure(
    name: str,
    values: Mapping[str, float | None],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    summed: Callable[[Iterable[float]], float] = fmean,
) -> list[Figure]:
    """The mean over loads, and every load as its own figure; what was not run says so."""
    ran = known(values)
    if not ran:
        return [missing(name, unit, _target(at_least, at_most), LATE)]

    def one(label: str, value: float, low: float, high: float) -> Figure:
        met = value >= at_least if at_least is not None else None if at_most is None else value <= at_most
        return Figure(
            label, round(value, 3), round(low, 3), round(high, 3), unit, _target(at_least, at_most), met
        )

    found = [one(name, summed(ran.values()), min(ran.values()), max(ran.values()))]
    found += [one(f"{name}/{load}", value, value, value) for load, value in ran.items() if load]
    late = [load for load in values if load not in ran]
    return found + [missing(f"{name}/{load}", unit, _target(at_least, at_most), LATE) for load in late]


def _target(at_least: float | None, at_most: float | None) -> str:
    if at_least is not None:
        return f">= {at_least:g}"
    return "" if at_most is None else f"<= {at_most:g}"


class Comparison:
    """Ours beside the peers on one load and fleet."""

    def __init__(self, x: Experiment, fleet: str, load: str, tuned_on: str) -> None:
        self.fleet, self.load = fleet, load
        self.ours = x.front(fleet, load, OURS[fleet], tuned_on)
        fronts_ = {name: x.front(fleet, load, name, tuned_on) for name in (*PEERS, "static")}
        self.peers: Mapping[str, Sequence[Point]] = {name: front for name, front in fronts_.items() if front}
        self.level = fronts.level(self.ours, self.peers)
        complete = len(self.peers) == len(fronts_) and bool(self.ours)
        self.best = fronts.best_peer(self.peers, self.level) if complete else None
        self.cost = fronts.need(self.ours, self.level)
        self.shipped = {name: x.point(Cell(fleet, load, name)) for name in PEERS}
        self.least = bound.gpu_h(x.cells, fleet, x.cells.load(load), self.level) if complete else None
        # Who knows the future is tuned on that very future.
        self.oracle = fronts.need(x.front(fleet, load, "oracle", load), self.level)

    @property
    def saved(self) -> float | None:
        """Percent of the best tuned peer's GPU hours."""
        if self.best is None or self.cost is None:
            return None
        return 100 * (1 - self.cost / self.best[1])

    @property
    def most(self) -> float | None:
        """What could be saved at all."""
        return None if self.best is None or self.least is None else 100 * (1 - self.least / self.best[1])

    def saved_on_shipped(self, name: str) -> float | None:
        """At the shipped peer's own attainment, or at our best where that is less."""
        point = self.shipped.get(name)
        if point is None or not self.ours:
            return None
        level = min(point.attainment, max(one.attainment for one in self.ours))
        cost = fronts.need(self.ours, level)
        return None if cost is None else 100 * (1 - cost / point.gpu_h)

    def spared_on_shipped(self, name: str) -> float | None:
        """GPU hours for each request within its objectives, beside the shipped peer: whatever attainment it has."""
        point = self.shipped.get(name)
        if point is None or self.cost is None or not self.level or not point.attainment:
            return None
        return 100 * (1 - self.cost / self.level / (point.gpu_h / point.attainment))

    @property
    def over_oracle(self) -> float | None:
        if self.oracle is None or self.cost is None or self.best is None:
            return None
        return self.cost / self.oracle


def compared(found: Sequence[Comparison]) -> list[Figure]:
    """Costs against peers, shipped peers and who knows the future."""
    by_fleet = {fleet: [one for one in found if one.fleet == fleet] for fleet in OURS}
    cascade = {one.load: one.saved for one in by_fleet["cascade"]}
    single = {one.load: one.saved for one in by_fleet["one"]}
    fewer = "% fewer GPU hours at equal attainment"
    figures = figure(NAMES[0], cascade, fewer, at_least=20)
    figures += figure(NAMES[1], single, fewer, at_least=5)
    for name, peer in ((NAMES[2], "llmd-queue"), (NAMES[3], "wva-v1")):
        figures += figure(
            name, {one.load: one.saved_on_shipped(peer) for one in by_fleet["one"]}, fewer, at_least=35
        )
    figures += figure("saving_at_most_percent", {f"{one.load}/{one.fleet}": one.most for one in found}, fewer)
    for name, peer in (("llmd", "llmd-queue"), ("wva", "wva-v1")):
        spared = {f"{one.load}/{one.fleet}": one.spared_on_shipped(peer) for one in found}
        figures += figure(f"gpu_hours_per_kept_request_vs_shipped_{name}", spared, "% fewer GPU hours")
    loads = {f"{one.load}/{one.fleet}": one.over_oracle for one in found}
    figures += figure(NAMES[4], loads, "times its GPU hours", at_most=1.15)
    return figures


def flips(x: Experiment, found: Sequence[Comparison]) -> list[Figure]:
    """Both tuned for 99 %, on the days nobody tuned on."""
    ratios: dict[str, float | None] = {}
    for one in found:
        mine, theirs = (_at_99(x, one, name) for name in (OURS[one.fleet], "hpa"))
        if mine is not None and theirs is not None and theirs.flips:
            ratios[f"{one.load}/{one.fleet}"] = mine.flips / theirs.flips
    return figure(NAMES[7], ratios, "times its changes of direction", at_most=0.5)


def _at_99(x: Experiment, one: Comparison, family: str) -> Point | None:
    model = one.load.rpartition("-")[0]
    tuned_on = f"{model if model.startswith(('m-', 'synthetic')) else 'm-large'}-{TUNED_ON}"
    constants = x.pick(one.fleet, tuned_on, family)
    return None if constants is None else x.point(Cell(one.fleet, one.load, family, constants))


def swept(x: Experiment, load: str = SWEPT) -> list[Figure]:
    """One thing changed at a time, for ours in the cascade."""
    tuned_on = f"{load.rpartition('-')[0]}-{TUNED_ON}"
    constants = x.pick("cascade", tuned_on, "joint")
    if constants is None:
        return [*figure(NAMES[8], {}, "points", at_most=0.5), *figure(NAMES[9], {}, "replicas", at_most=0)]
    calm = x.row(Cell("cascade", load, "joint", constants))
    figures: list[Figure] = []
    for what, steps in SWEEPS.items():
        for conditions in steps:
            row = x.row(Cell("cascade", load, "joint", constants, conditions))
            if row is None or calm is None:
                continue
            points = 100 * (calm["attainment"] - row["attainment"])
            gpu_h = 100 * (row["gpu_h"] / calm["gpu_h"] - 1)
            if what == "scrape loss":
                figures = [
                    *figure(NAMES[8], {load: points}, "points", at_most=0.5),
                    *figure(NAMES[9], {load: float(row["lost_downs"])}, "replicas", at_most=0),
                    *figures,
                ]
            label = f"sweep/{what} {next(iter(conditions.values())):g}".replace(" ", "_")
            figures += figure(f"{label}_attainment_cost", {"": points}, "points")
            figures += figure(f"{label}_gpu_hours", {"": gpu_h}, "% more")
    return figures


def ablated(x: Experiment, load: str = SWEPT) -> list[Figure]:
    """Ours with one thing taken away: GPU hours at the same attainment, or what was reached."""
    tuned_on = f"{load.rpartition('-')[0]}-{TUNED_ON}"
    ours = x.front("cascade", load, "joint", tuned_on)
    figures: list[Figure] = []
    for name in ABLATIONS:
        # With the constants of the whole: another tuning would hide what the missing part was for.
        picks = x.picks("cascade", tuned_on, "kubeai" if name == "router-only" else "joint")
        runs = [x.point(Cell("cascade", load, name, constants)) for constants in picks]
        front = whole(runs)
        if not front or not ours:
            figures += figure(f"ablation/{name}_gpu_hours", {}, "% more at equal attainment")
            continue
        level = min(0.99, max(one.attainment for one in front), max(one.attainment for one in ours))
        mine, theirs = fronts.need(ours, level), fronts.need(front, level)
        if mine is not None and theirs is not None:
            figures += figure(
                f"ablation/{name}_gpu_hours", {"": 100 * (theirs / mine - 1)}, "% more at equal attainment"
            )
            figures += figure(f"ablation/{name}_attainment", {"": 100 * level}, "%")
    return figures


def measured(exact: Mapping[str, Any] | None) -> list[Figure]:
    """What was run at request level, and the planner's own time."""
    if exact is None:
        return [missing(name, "", "", LATE) for name in (*NAMES[5:7], *NAMES[10:])]
    ramp, known_before = exact["ramp"], exact["ramp_foreknown"]
    return [
        _runs(NAMES[5], [one["attainment_percent"] for one in ramp], "%", at_least=99),
        _runs(NAMES[6], [one["replicas"] for one in ramp], "replicas", at_most=5.7),
        _runs(
            "staged_ramp_foreknown_attainment_percent",
            [one["attainment_percent"] for one in known_before],
            "%",
        ),
        _runs("staged_ramp_foreknown_mean_replicas", [one["replicas"] for one in known_before], "replicas"),
        _runs(NAMES[10], exact["decision_4_tiers_ms"], "ms of CPU", at_most=10),
        _runs(NAMES[11], exact["decision_500_cascades_s"], "s of CPU", at_most=1),
        _runs(NAMES[12], exact["itl_error_percent"], "% of the recorded median", at_most=10),
        _runs(NAMES[13], exact["ttft_error_percent"], "% of the recorded median", at_most=20),
        _runs(NAMES[14], [exact["requests_per_minute"]], "requests per minute of CPU", at_least=1e6),
    ]


def _runs(
    name: str,
    runs: Sequence[float],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """The median of runs; for errors that is the median error."""
    value = median(runs)
    met = value >= at_least if at_least is not None else None if at_most is None else value <= at_most
    target = _target(at_least, at_most)
    return Figure(name, round(value, 3), round(min(runs), 3), round(max(runs), 3), unit, target, met)


def known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def rank(name: str) -> int:
    """The figures that were asked for first, each with its loads behind it."""
    first = name.partition("/")[0]
    return NAMES.index(first) if first in NAMES else len(NAMES)
