"""Carries out changes to children, and turns a refusal into words for a condition."""

import re
from collections.abc import Callable, Iterable, Sequence

from modelfleet import names
from modelfleet.api.meta import Manifest
from modelfleet.control.context import Context
from modelfleet.control.ports import Key
from modelfleet.diff.changes import ChildId, changes, child_id
from modelfleet.diff.pods import Cause
from modelfleet.errors import ClusterError, Conflict

NAME_CONFLICT = "NameConflict"
RECHECK_S = 10.0  # how often a name that somebody else has is tried again


def again_s(failure: Cause | None) -> float | None:
    """When to look again at what stood in the way; None where an event will tell."""
    return RECHECK_S if failure is not None and failure.reason == NAME_CONFLICT else None


async def converge(
    ctx: Context,
    namespace: str,
    wanted: Sequence[Manifest],
    *,
    ours: Callable[[Manifest], bool],
    absent: Sequence[ChildId] = (),
) -> Cause | None:
    """Make the children what is wanted; the cause if a foreign object stands in the way.  Raises ClusterError."""
    observed = _observed(ctx, namespace, [*map(child_id, wanted), *absent])
    todo = changes(wanted, observed, ours=ours, absent=absent)
    foreign = list(todo.conflicts)
    for manifest in todo.apply:
        if child_id(manifest) not in observed and await _taken(ctx, manifest, ours):
            foreign.append(child_id(manifest))
            continue
        ctx.took(await ctx.cluster.apply(manifest, manager=names.FIELD_MANAGER_STRUCTURE))
    for manifest in todo.delete:
        await ctx.cluster.delete(manifest)
    return _name_conflict(foreign)


async def _taken(ctx: Context, manifest: Manifest, ours: Callable[[Manifest], bool]) -> bool:
    """Whether somebody else's object has the name.  The watches only bring objects that carry our labels."""
    kind, name = child_id(manifest)
    existing = await ctx.cluster.get(Key(kind, manifest["metadata"]["namespace"], name), cached=True)
    return existing is not None and not ours(existing)


def _observed(ctx: Context, namespace: str, ids: Iterable[ChildId]) -> dict[ChildId, Manifest]:
    found = ((each, ctx.view.get(Key(each[0], namespace, each[1]))) for each in ids)
    return {each: item for each, item in found if item is not None}


def _name_conflict(foreign: Iterable[ChildId]) -> Cause | None:
    # No watch will tell when it goes: it does not carry our labels.
    shown = ", ".join(f"{kind} {name}" for kind, name in sorted(foreign))
    if not shown:
        return None
    return Cause(NAME_CONFLICT, f"Not ours, and left alone: {shown}", stuck=True)


def refusal(err: ClusterError) -> Cause | None:
    """What a refused write means for the object's conditions; None where trying again is all there is to do."""
    if isinstance(err, Conflict) or not err.status:
        return None
    text = str(err)
    if "being terminated" in text:
        return Cause("NamespaceTerminating", "The namespace is being deleted", stuck=True)
    said = re.sub(r"^[A-Z]+ \S+: ", "", text)
    if "exceeded quota" in said:
        return Cause("QuotaExceeded", re.sub(r", used: .*", "", said), stuck=True)
    if 400 <= err.status < 500 and err.status != 429:  # noqa: PLR2004  refused, rather than overloaded
        return Cause(err.reason or "ApplyRefused", said, stuck=True)
    return None
