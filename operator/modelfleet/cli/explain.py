"""`modelfleet explain` and `modelfleet plan`: the last decision about a Cascade, and what others it could have been.

Both read the ConfigMap that the operator keeps of each plan, with the rights of whoever calls them.  They change
nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from modelfleet import names
from modelfleet.adapters.kube import KubeCluster
from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.key import Key
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.cli import explain_budget
from modelfleet.cli.explain_budget import Spent
from modelfleet.errors import ClusterError
from modelfleet.plan import learned, planner, record
from modelfleet.plan.alternatives import Alternative, alternatives, without_each_rail
from modelfleet.plan.demand import given
from modelfleet.plan.forecast import level
from modelfleet.plan.learned import Learned, state_of
from modelfleet.plan.record import Record
from modelfleet.plan.service_level import attained, judge
from modelfleet.plan.what_if import what_if

_TIMEOUT_S = 10.0
_CASCADES_MAX = 200  # of a namespace, whose plans are looked through
_BEFORE_RAILS = "what else it could be, before limits on change"
_PRICES = "Prices are US dollars where every node pool tells its own, else units of the pools."
_SHORT = ("casc/", "cascade/", "cascades/")
_console = Console()

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Where the Cascade is.")]


@dataclass(frozen=True, slots=True)
class Notes:
    """What the operator keeps of one plan."""

    record: Record
    learned: Learned


def explain(
    cascade: Annotated[str, typer.Argument(help="Name of the Cascade, such as casc/chat.")],
    namespace: Namespace = "default",
) -> None:
    """Why the operator decided as it did: what it saw, what bound it, and what else it would have cost."""
    spent = _spent(_name(cascade), namespace)
    for line in explain_budget.lines(spent) if spent is not None else ():
        _console.print(line, highlight=False)
    notes = _needed(_name(cascade), namespace) if spent is None else _read(_name(cascade), namespace)
    if notes is None:
        return
    state = _state(notes)
    found, _ = planner.plan(notes.record.look, state, notes.record.settings)
    _head(notes, state)
    _tiers(notes.record.look, notes.record.plan)
    _console.print(f"{judge(notes.record.look, found, state).message}.")
    _others(_BEFORE_RAILS, notes.record.look, alternatives(notes.record.look, state, notes.record.settings))
    held = without_each_rail(notes.record.look, state, notes.record.settings)
    if held:
        _others("what would be done now, if it did not hold", notes.record.look, held)
    _console.print(_PRICES)


def plan(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML with a Cascade, ModelTiers, or both.")],
    cascade: Annotated[str | None, typer.Option(help="Which Cascade, where the file has none.")] = None,
    namespace: Namespace = "default",
    settings: Annotated[
        Path | None, typer.Option(help="The operator's settings.yaml, for its profiles.")
    ] = None,
) -> None:
    """What the operator would decide on its last look, if these objects were applied. Nothing is changed."""
    try:
        wanted, tiers = _objects(file)
        told = FleetSettings.model_validate(yaml.safe_load(settings.read_text()) or {} if settings else {})
    except (OSError, yaml.YAMLError, ValidationError) as err:
        _stop(str(err))
    name = wanted.metadata.name if wanted is not None else _name(cascade or "")
    if not name:
        _stop("the file has no Cascade: say which one with --cascade")
    notes = _needed(name, namespace)
    state = _state(notes)
    try:
        changed = what_if(notes.record, wanted, tiers, told)
    except ValueError as err:
        _stop(str(err))
    found, after = planner.plan(changed.look, state, changed.settings)
    _head(notes, state)
    _tiers(changed.look, found)
    _console.print(f"{judge(changed.look, found, after).message}.")
    before = alternatives(notes.record.look, state, notes.record.settings)[:2]
    later = alternatives(changed.look, state, changed.settings)[1]
    with_these = Alternative("with these objects", later.replicas, later.price)
    _others(_BEFORE_RAILS, changed.look, [*before, with_these])
    _console.print(_PRICES)


def _objects(file: Path) -> tuple[Cascade | None, Mapping[str, ModelTier]]:
    documents = [one for one in yaml.safe_load_all(file.read_text()) if isinstance(one, dict)]
    cascades = [Cascade.model_validate(one) for one in documents if one.get("kind") == "Cascade"]
    tiers = [ModelTier.model_validate(one) for one in documents if one.get("kind") == "ModelTier"]
    if len(cascades) > 1:
        _stop(f"{file} has {len(cascades)} Cascades: one at a time")
    return (cascades[0] if cascades else None), {tier.metadata.name: tier for tier in tiers}


def _name(said: str) -> str:
    return next((said.removeprefix(short) for short in _SHORT if said.startswith(short)), said)


def _read(cascade: str, namespace: str) -> Notes | None:
    try:
        return asyncio.run(_find(cascade, namespace))
    except (ClusterError, ValueError) as err:
        _stop(str(err))


def _needed(cascade: str, namespace: str) -> Notes:
    notes = _read(cascade, namespace)
    if notes is None:
        _stop(
            f"nothing is planned for Cascade {cascade} in namespace {namespace}: it needs spec.slo, and its first look "
            "(kubectl get cascade shows condition WithinSLO then)"
        )
    return notes


def _spent(cascade: str, namespace: str) -> Spent | None:
    async def read() -> Spent | None:
        async with KubeCluster(timeout_s=_TIMEOUT_S) as cluster:
            return await explain_budget.read(cluster, cascade, namespace)

    try:
        return asyncio.run(read())
    except (ClusterError, ValueError) as err:
        _stop(str(err))


async def _find(cascade: str, namespace: str) -> Notes | None:
    """The plan of the Cascade: its own, or that of another which it shares tiers with."""
    async with KubeCluster(timeout_s=_TIMEOUT_S) as cluster:
        own = _notes(await cluster.get(_key(cascade, namespace)))
        if own is not None:
            return own
        listed, _ = await cluster.list("Cascade", namespace=namespace)
        for other in [item["metadata"]["name"] for item in listed][:_CASCADES_MAX]:
            found = _notes(await cluster.get(_key(other, namespace)))
            if found is not None and cascade in found.record.cascades:
                return found
    return None


def _key(cascade: str, namespace: str) -> Key:
    return Key("ConfigMap", namespace, names.plan_notes(cascade))


def _notes(item: Manifest | None) -> Notes | None:
    data: Mapping[str, Any] = (item or {}).get("data") or {}
    if names.PLAN_DECISION_KEY not in data:
        return None
    return Notes(record.decode(data[names.PLAN_DECISION_KEY]), learned.decode(data[names.PLAN_LEARNED_KEY]))


def _state(notes: Notes) -> planner.State:
    return state_of(notes.learned, [tier.name for tier in notes.record.look.tiers])


def _head(notes: Notes, state: planner.State) -> None:
    look, found = notes.record.look, notes.record.plan
    when = datetime.fromtimestamp(look.now_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    others = [name for name in notes.record.cascades if name != notes.record.owner]
    beside = f", together with {', '.join(others)}" if others else ""
    _console.print(f"[bold]{notes.record.owner}[/bold]{beside}, as of {when}", highlight=False)
    goals = [
        f"{what} {goal * 1000:g} ms"
        for what, goal in (
            ("first token", given(look.goals.ttft_s)),
            ("between tokens", given(look.goals.itl_s)),
        )
        if goal is not None
    ]
    share = attained(state)
    kept = (
        "too few answers to tell" if share is None else f"{share:.1%} of the answers of the last hour kept it"
    )
    _console.print(f"objective: {', '.join(goals)}; {kept}", highlight=False)
    now_rps = level(state.rates_rps, look_s=look.look_s)
    ahead = (
        f"; sized for {found.peak_rps:.3g} a second together"
        if found.peak_rps
        else "; each tier for its own peak"
    )
    fresh = "" if look.complete else "; numbers are missing or old, so it holds"
    _console.print(f"load: {now_rps:.3g} requests a second{ahead}{fresh}", highlight=False)


def _tiers(look: planner.Look, found: planner.Plan) -> None:
    table = Table()
    for column in (
        "tier",
        "has",
        "ready",
        "starting",
        "gets",
        "reason",
        "last one for",
        "one carries",
        "share",
        "starts in",
    ):
        table.add_column(column, justify="left" if column in {"tier", "reason", "last one for"} else "right")
    for tier, one in zip(look.tiers, found.tiers, strict=True):
        carries = f"{one.carries_rps:.3g}/s ({one.limit})" if one.carries_rps else "?"
        table.add_row(
            tier.name, str(tier.replicas), str(tier.ready), str(tier.starting), str(one.replicas), one.reason,
            one.bound, carries, f"{tier.share:.0%}", f"{tier.lead_s:.0f} s",
        )  # fmt: skip
    _console.print(table)


def _others(title: str, look: planner.Look, found: list[Alternative]) -> None:
    table = Table(title=title)
    table.add_column("if")
    for tier in look.tiers:
        table.add_column(tier.name, justify="right")
    table.add_column("price an hour", justify="right")
    for one in found:
        table.add_row(one.what, *(str(count) for count in one.replicas), f"{one.price:.2f}")
    _console.print(table)


def _stop(message: str) -> NoReturn:
    _console.print(f"[red]modelfleet:[/red] {message}", highlight=False)
    raise typer.Exit(1)
