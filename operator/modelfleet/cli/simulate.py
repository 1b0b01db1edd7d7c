"""`modelfleet simulate`: what a fleet would have cost, and how well it would have served, on a load."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.cli import simulate_inputs as inputs
from modelfleet.sim import report
from modelfleet.sim.fleet import Arrival, Conditions
from modelfleet.sim.operator.policy import Operator
from modelfleet.sim.policies import foresight
from modelfleet.sim.policies.known import KNOWN
from modelfleet.sim.policy import Orders, Policy, Seen
from modelfleet.sim.report import Result
from modelfleet.sim.scenario import BadScenario, Scenario, Told, read
from modelfleet.sim.tally import Tally
from modelfleet.sim.world import World

_OPERATOR = "operator"
_PEAK, _ORACLE = "peak", "oracle"  # who know the load beforehand
_POLICIES = (_OPERATOR, *KNOWN, _PEAK, _ORACLE)
_MONDAY = "2026-01-05T00:00"  # when a run begins, unless --start says otherwise
_COLUMN_CHARS, _FRAME_CHARS, _HEADING_CHARS = 8, 3, 21  # of the table
_SHORT = 0.95  # of the time asked for
_CRITICAL = 50  # nothing of what the loop logs
_console = Console()
_aside = Console(stderr=True)


class Watched:
    """A policy whose looks move a progress bar."""

    def __init__(self, policy: Policy, told: Callable[[float], None]) -> None:
        self.name, self.look_s, self._policy, self._told = policy.name, policy.look_s, policy, told

    def decide(self, seen: Seen) -> Orders:
        self._told(seen.now_s)
        return self._policy.decide(seen)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all policies run on."""

    scenario: Scenario
    settings: FleetSettings
    conditions: Conditions
    trace: str
    folder: Path | None
    rps: float
    seconds: float
    day: int
    seed: int
    start_s: float

    def arrivals(self) -> Iterator[Arrival]:
        """The same requests each time."""
        return inputs.arrivals(
            self.trace, self.folder, rps=self.rps, seconds=self.seconds, day=self.day, seed=self.seed
        )


Files = Annotated[list[Path], typer.Option("--file", "-f", help="YAML with ModelTiers and a Cascade.")]
Trace = Annotated[str, typer.Option(help=f"The load: {', '.join(inputs.LOADS)}.")]
Traces = Annotated[
    Path | None, typer.Option("--traces", envvar="MODELFLEET_TRACES", help="Folder with the traces.")
]
Rps = Annotated[float, typer.Option(help="Mean requests per second, where the load can be scaled.")]
Hours = Annotated[float, typer.Option(help="How much of the load.")]
Day = Annotated[int, typer.Option(min=0, help="Which day of a ServeGen trace.")]
Start = Annotated[str, typer.Option(help="When it begins, for schedules: 2026-11-23T08:00+01:00.")]
Who = Annotated[str, typer.Option("--policy", help=f"Who decides: {', '.join(_POLICIES)}.")]
Against = Annotated[list[str] | None, typer.Option(help="Further policies on the same load.")]
Which = Annotated[str | None, typer.Option(help="Name of the Cascade, where there are several.")]
SettingsFile = Annotated[
    Path | None, typer.Option(help="The operator's settings.yaml: node pools, prices, profiles.")
]
Profiles = Annotated[list[str] | None, typer.Option(help="TIER=PROFILE: how fast its engine is.")]
Prices = Annotated[list[str] | None, typer.Option(help="TIER=USD per replica and hour.")]
ScoresFile = Annotated[
    Path | None, typer.Option(help="CSV of judged answers: a score per tier, NAME:right as 1 or 0.")
]
ColdStart = Annotated[float | None, typer.Option(help="Seconds until a new replica is ready.")]
Blind = Annotated[str | None, typer.Option(help="Metrics are lost: from when, for how long: 2h+10m.")]
Ttft = Annotated[
    float | None, typer.Option(help="Objective: seconds to the first token. Default: the Cascade's, or 1.")
]
Itl = Annotated[
    float | None, typer.Option(help="Objective: seconds between tokens. Default: the Cascade's, or 0.05.")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same run.")]
Page = Annotated[Path | None, typer.Option(help="Write a page with plots here.")]
Numbers = Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")]


def simulate(  # noqa: PLR0917  the command line names every one of them
    files: Files,
    trace: Trace = "synthetic",
    traces_dir: Traces = None,
    rps: Rps = 20.0,
    hours: Hours = 4.0,
    day: Day = 0,
    start: Start = _MONDAY,
    policy: Who = _OPERATOR,
    against: Against = None,
    cascade: Which = None,
    settings: SettingsFile = None,
    profile: Profiles = None,
    price: Prices = None,
    scores: ScoresFile = None,
    cold_start: ColdStart = None,
    blind: Blind = None,
    ttft: Ttft = None,
    itl: Itl = None,
    seed: Seed = 0,
    html: Page = None,
    output: Numbers = None,
) -> None:
    """Run the operator on a simulated fleet with your own YAML, and its peers beside it."""
    names = list(dict.fromkeys([policy, *(against or [])]))
    try:
        _check(names, [html, output])
        inputs.positive({
            "--rps": rps, "--hours": hours, "--cold-start": cold_start, "--ttft": ttft, "--itl": itl,
        })  # fmt: skip
        inputs.check_load(trace, traces_dir)
        among, told = inputs.documents(files), inputs.settings(settings)
        asked = Told(
            cascade=cascade,
            profiles=inputs.pairs(profile or [], "--profile TIER=PROFILE", among),
            prices=inputs.prices(price or [], among),
            cold_start_s=cold_start,
            ttft_s=ttft,
            itl_s=itl,
            settings=told,
        )
        scenario = read(among, asked, scores=lambda steps: inputs.scores(scores, steps))
        _check_foresight(names, scenario)
        setting = Setting(
            scenario=scenario,
            settings=told,
            conditions=_conditions(blind),
            trace=trace,
            folder=traces_dir,
            rps=rps,
            seconds=hours * 3600,
            day=day,
            seed=seed,
            start_s=inputs.start_s(start),
        )
    except (BadScenario, OSError, ValueError) as err:
        _stop(str(err))
    load = f"{trace}, {hours:g} h from {start}, {', '.join(path.name for path in files)}"
    _say(scenario, names)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_CRITICAL))
    runs = [_run(name, setting) for name in names]
    _warn_of_end(runs[0][1].ended_s, setting.seconds)
    _show(load, [found for found, _ in runs])
    if output is not None:
        output.write_text(json.dumps(report.document(load, scenario.fleet, runs), indent=1) + "\n")
    if html is not None:
        _write_page(html, load, scenario, runs)


def _check_foresight(names: Sequence[str], scenario: Scenario) -> None:
    blind = [name for name in names if name in (_PEAK, _ORACLE)]
    if blind and scenario.fleet.thresholds:
        raise ValueError(f"{blind[0]} cannot know what a tier with an accept rule will pass on: leave it out")


def _conditions(blind: str | None) -> Conditions:
    from_s, until_s = inputs.span_s(blind)
    return Conditions(blind_from_s=from_s, blind_until_s=until_s)


def _check(names: Sequence[str], written: Sequence[Path | None]) -> None:
    """Before anything runs for minutes."""
    unknown = [name for name in names if name not in _POLICIES]
    if unknown:
        raise ValueError(f"there is no policy {unknown[0]!r}; there are: {', '.join(_POLICIES)}")
    for path in written:
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path} cannot be written: there is no folder {path.parent}")


def _say(scenario: Scenario, names: Sequence[str]) -> None:
    """What the figures leave out."""
    for line in scenario.unsimulated:
        _tell(f"not simulated: {line}")
    controls = [name for name in names if name != _OPERATOR]
    if controls and scenario.controlled:
        who = ", ".join(controls)
        _tell(f"not simulated: {', '.join(scenario.controlled)}: only the operator heeds them, {who} do not")
    free = [tier.name for tier in scenario.fleet.tiers if not tier.external and not tier.usd_per_replica_hour]
    if free:
        _tell(
            f"no price of tier {', '.join(free)}: dollars leave it out; give --price TIER=USD or --settings"
        )


def _warn_of_end(ended_s: float, seconds: float) -> None:
    """A trace may be shorter than what is asked for: the fleet costs money all the same."""
    if not ended_s:
        _tell("not one request came: the trace has none for this time; see --day and --hours")
    elif ended_s < _SHORT * seconds:
        _tell(f"the load ends after {ended_s / 3600:.2f} h, and the fleet runs on until {seconds / 3600:g} h")


def _tell(text: str) -> None:
    _aside.print(text, highlight=False, markup=False, soft_wrap=True)


def _run(name: str, setting: Setting) -> tuple[Result, Tally]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn(),
        console=_aside, transient=True, disable=not _aside.is_terminal,
    )  # fmt: skip
    scenario, arrivals = setting.scenario, setting.arrivals()
    operator = None
    if name == _OPERATOR:
        operator = Operator(
            scenario.documents, scenario.cascade, settings=setting.settings, start_s=setting.start_s
        )
    with bar:
        task = bar.add_task(name, total=setting.seconds)
        watched = Watched(operator or _policy(name, setting), lambda now_s: bar.update(task, completed=now_s))
        world = World(
            scenario.fleet,
            arrivals,
            watched,
            conditions=setting.conditions,
            seed=setting.seed,
            entry=scenario.entry,
            prompt=operator,
        )
        tally = world.run(setting.seconds)
    if operator is not None:
        for line in operator.troubles():
            _tell(f"at the end: {line}")
        operator.close()
    return report.result(name, tally), tally


def _policy(name: str, setting: Setting) -> Policy:
    if name not in (_PEAK, _ORACLE):
        return KNOWN[name]()
    fleet, shares = setting.scenario.fleet, setting.scenario.entry
    load = foresight.look_through(setting.arrivals(), seconds=setting.seconds, seed=setting.seed)
    if name == _PEAK:
        return foresight.Peak(fleet, load, shares)
    least = foresight.least_gpu_h(fleet, load, shares)
    _tell(f"oracle: {least:.1f} GPU hours would do if replicas could be split and started at once")
    return foresight.oracle(fleet, load, shares)


def _show(load: str, results: Sequence[Result]) -> None:
    """One column a policy, as many beside each other as fit."""
    found = [report.columns(one) for one in results]
    each = max(_COLUMN_CHARS, *(len(one["policy"]) for one in found)) + _FRAME_CHARS
    beside = max(1, (_console.width - _HEADING_CHARS) // each)
    for at in range(0, len(found), beside):
        shown = found[at : at + beside]
        table = Table(title=None if at else load)
        table.add_column("policy", no_wrap=True)
        for column in shown:
            table.add_column(column["policy"], justify="right", no_wrap=True)
        for name in list(shown[0])[1:]:
            table.add_row(name, *(one[name] for one in shown))
        _console.print(table)


def _write_page(path: Path, load: str, scenario: Scenario, runs: list[tuple[Result, Tally]]) -> None:
    try:
        path.write_text(report.page(load, scenario.fleet, runs))
    except ImportError:
        _stop("a page with plots needs plotly: pip install 'modelfleet[simulate]'")
    _console.print(f"plots: {path}")


def _stop(message: str) -> NoReturn:
    _tell(f"modelfleet simulate: {message}")
    raise typer.Exit(2)
