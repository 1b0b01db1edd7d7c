"""Writes the structure loop's part of a status, and only where it says something new."""

from modelfleet import names
from modelfleet.api.meta import Manifest
from modelfleet.control.context import Context
from modelfleet.control.ports import Key
from modelfleet.diff.conditions import status_converged
from modelfleet.errors import ClusterError


def paused(item: Manifest) -> bool:
    """Whether the user asked us to leave the object's children alone."""
    annotations = item["metadata"].get("annotations") or {}
    return bool(annotations.get(names.ANNOTATION_PAUSED) == "true")


async def write_status(
    key: Key, item: Manifest, status: Manifest, types: tuple[str, ...], ctx: Context
) -> None:
    """Apply our part of the status, unless it says so already."""
    if status_converged(item.get("status") or {}, status, types=types):
        return
    try:
        ctx.took(await ctx.cluster.apply_status(key, status, manager=names.FIELD_MANAGER_STRUCTURE))
    except ClusterError as err:
        if err.status != 404:  # noqa: PLR2004  deleted since: nobody is left to read it
            raise
