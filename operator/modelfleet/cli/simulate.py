"""`modelfleet simulate`: what a fleet would have cost, and how well it would have served, on a load."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from modelfleet.sim import report, traces
from modelfleet.sim.arrivals import Day, staged, synthetic
from modelfleet.sim.fleet import Arrival, Cascade, Conditions
from modelfleet.sim.policies.known import KNOWN
from modelfleet.sim.policy import Orders, Policy, Seen
from modelfleet.sim.report import Result
from modelfleet.sim.scenario import BadScenario, read
from modelfleet.sim.tally import Tally
from modelfleet.sim.world import World

_SERVEGEN = ("m-small", "m-mid", "m-large", "deepseek-r1")
_LOADS = (
    "synthetic",
    "staged",
    "azure-conv",
    "azure-code",
    "mooncake",
    *(f"servegen-{name}" for name in _SERVEGEN),
)
_STAGES = ((2, 330), (4, 360), (6, 360), (8, 360), (10, 360), (4, 360), (1, 300))
_REMEMBERED_BLOCKS = 20_000  # of 512 tokens, that a tier has in its prefix caches
_console = Console()


class Watched:
    """A policy whose looks move a progress bar."""

    def __init__(self, policy: Policy, told: Callable[[float], None]) -> None:
        self.name, self.look_s, self._policy, self._told = policy.name, policy.look_s, policy, told

    def decide(self, seen: Seen) -> Orders:
        self._told(seen.now_s)
        return self._policy.decide(seen)


def simulate(  # noqa: PLR0917  the command line names every one of them
    files: Annotated[list[Path], typer.Option("--file", "-f", help="YAML with ModelTiers and a Cascade.")],
    trace: Annotated[str, typer.Option(help=f"The load: {', '.join(_LOADS)}.")] = "synthetic",
    traces_dir: Annotated[
        Path | None, typer.Option("--traces", envvar="MODELFLEET_TRACES", help="Folder with the traces.")
    ] = None,
    rps: Annotated[
        float, typer.Option(help="Mean requests per second, where the load can be scaled.")
    ] = 20.0,
    hours: Annotated[float, typer.Option(min=0.01, help="How much of the load.")] = 4.0,
    day: Annotated[int, typer.Option(min=0, help="Which day of a ServeGen trace.")] = 0,
    policy: Annotated[str, typer.Option(help=f"Who decides: {', '.join(KNOWN)}.")] = "joint",
    against: Annotated[list[str] | None, typer.Option(help="Further policies on the same load.")] = None,
    cascade: Annotated[str | None, typer.Option(help="Name of the Cascade, where there are several.")] = None,
    profile: Annotated[list[str] | None, typer.Option(help="TIER=PROFILE: how fast its engine is.")] = None,
    price: Annotated[list[str] | None, typer.Option(help="TIER=USD per replica and hour.")] = None,
    cold_start: Annotated[float | None, typer.Option(help="Seconds until a new replica is ready.")] = None,
    ttft: Annotated[
        float | None,
        typer.Option(help="Objective: seconds to the first token. Default: the Cascade's, or 1."),
    ] = None,
    itl: Annotated[
        float | None, typer.Option(help="Objective: seconds between tokens. Default: the Cascade's, or 0.05.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots here.")] = None,
    output: Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")] = None,
) -> None:
    """Run the project's planner and routing on a simulated fleet, and its peers beside it."""
    names = [policy, *(against or [])]
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        _stop(f"there is no policy {unknown[0]!r}; there are: {', '.join(KNOWN)}")
    _check_positive({
        "--rps": rps, "--hours": hours, "--cold-start": cold_start, "--ttft": ttft, "--itl": itl,
    })  # fmt: skip
    try:
        documents = [document for path in files for document in yaml.safe_load_all(path.read_text())]
        fleet, shares = read(
            documents,
            cascade=cascade,
            profiles=_pairs(profile or [], "--profile TIER=PROFILE", documents),
            prices={
                name: _dollars(value)
                for name, value in _pairs(price or [], "--price TIER=USD", documents).items()
            },
            cold_start_s=cold_start,
            ttft_s=ttft,
            itl_s=itl,
        )
    except (BadScenario, OSError, yaml.YAMLError, ValueError) as err:
        _stop(str(err))
    seconds = hours * 3600
    load = f"{trace}, {hours:g} h from {', '.join(str(path) for path in files)}"
    runs = []
    for name in names:
        arrivals = _arrivals(trace, traces_dir, rps=rps, seconds=seconds, day=day, seed=seed)
        runs.append(_run(name, fleet, shares, arrivals, seconds=seconds, seed=seed))
    _show(load, [found for found, _ in runs])
    if output is not None:
        output.write_text(json.dumps(report.document(load, fleet, runs), indent=1) + "\n")
    if html is not None:
        _write_page(html, load, fleet, runs)


def _run(
    name: str,
    fleet: Cascade,
    shares: tuple[float, ...],
    arrivals: Iterator[Arrival],
    *,
    seconds: float,
    seed: int,
) -> tuple[Result, Tally]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn(),
        console=_console, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task(name, total=seconds)
        watched = Watched(KNOWN[name](), lambda now_s: bar.update(task, completed=now_s))
        world = World(fleet, arrivals, watched, conditions=Conditions(), seed=seed, entry=shares)
        tally = world.run(seconds)
    return report.result(name, tally), tally


def _arrivals(
    trace: str, folder: Path | None, *, rps: float, seconds: float, day: int, seed: int
) -> Iterator[Arrival]:
    if trace == "synthetic":
        return synthetic(Day(mean_rps=rps), seconds=seconds, seed=seed)
    if trace == "staged":
        return staged(_STAGES, prompt=4000, output=1000, seed=seed)
    if trace not in _LOADS:
        _stop(f"there is no load {trace!r}; there are: {', '.join(_LOADS)}")
    if folder is None:
        _stop(
            f"{trace} is read from a folder: give --traces or MODELFLEET_TRACES (docs/capacity.md says what is in it)"
        )
    missing = [name for name in _files(trace) if not (folder / name).is_file()]
    if missing:
        _stop(f"{trace} needs {', '.join(missing)} in {folder}")
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


def _pairs(given: list[str], how: str, documents: list[Any]) -> dict[str, str]:
    tiers = sorted(
        str((document.get("metadata") or {}).get("name"))
        for document in documents
        if isinstance(document, dict) and document.get("kind") == "ModelTier"
    )
    pairs = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise ValueError(f"{one!r} is not {how}")
        if name not in tiers:
            raise ValueError(f"{one!r}: no file has ModelTier {name!r}; there are: {', '.join(tiers)}")
        pairs[name] = value
    return pairs


def _dollars(value: str) -> float:
    found = float(value)
    if not 0 <= found < math.inf:
        raise ValueError(f"{value} is no price: give dollars, 0 or more")
    return found


def _check_positive(given: Mapping[str, float | None]) -> None:
    for option, value in given.items():
        if value is not None and not 0 < value < math.inf:
            _stop(f"{option} {value:g} is of no use: give a number above 0")


def _show(load: str, results: list[Result]) -> None:
    """One column a policy: that fits a terminal."""
    found = [report.columns(one) for one in results]
    table = Table(title=load)
    for place, column in enumerate([{"policy": "policy"}, *found]):
        table.add_column(column["policy"], justify="right" if place else "left")
    for name in list(found[0])[1:]:
        table.add_row(name, *(one[name] for one in found))
    _console.print(table)


def _write_page(path: Path, load: str, fleet: Cascade, runs: list[tuple[Result, Tally]]) -> None:
    try:
        path.write_text(report.page(load, fleet, runs))
    except ImportError:
        _stop("a page with plots needs plotly: pip install 'modelfleet[simulate]'")
    _console.print(f"plots: {path}")


def _stop(message: str) -> NoReturn:
    _console.print(f"[red]modelfleet simulate:[/red] {message}", highlight=False)
    raise typer.Exit(2)
