"""Reconciles one router of a namespace, and the status of the Cascades that it serves."""

from collections.abc import Sequence

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.children import converge, refusal
from modelfleet.control.context import Context
from modelfleet.control.ports import Key
from modelfleet.control.tier import paused, write_status
from modelfleet.desired import router as desired
from modelfleet.desired import table
from modelfleet.diff import cascade_status, pods
from modelfleet.diff.changes import contains, owned_by_any
from modelfleet.diff.pods import Cause
from modelfleet.errors import ClusterError

ROUTER = "Router"  # not an API kind: the key of a router's children


def router_key(cascade: Cascade) -> Key:
    """Key of the router that serves the Cascade."""
    return Key(ROUTER, cascade.metadata.namespace, desired.of_cascade(cascade))


async def reconcile_router(key: Key, ctx: Context) -> float | None:
    """Bring the router's children and route table to what its Cascades want; then the Cascades' status."""
    items = [item for item in _cascades(ctx, key.namespace) if _serves(item, key.name)]
    cascades = [Cascade.model_validate(item) for item in items]
    tiers = _tiers(ctx, cascades)
    error: ClusterError | None = None
    failure: Cause | None = None
    if not any(map(paused, items)):
        try:
            failure = await _converge(key, cascades, tiers, ctx)
        except ClusterError as err:
            error, failure = err, refusal(err)
    await _write_statuses(key, items, cascades, tiers, failure, ctx)
    if error is not None:
        raise error
    return None


async def _converge(
    key: Key, cascades: Sequence[Cascade], tiers: dict[str, ModelTier], ctx: Context
) -> Cause | None:
    ours = owned_by_any("Cascade")
    if not cascades:
        absent = [(kind, key.name) for kind in desired.KINDS if kind != "ConfigMap"]
        absent.append(("ConfigMap", names.route_table(key.name)))
        return await converge(ctx, key.namespace, (), ours=ours, absent=absent)
    router = desired.Router(
        name=key.name,
        namespace=key.namespace,
        cascades=tuple(cascades),
        external_tiers=tuple(tier for _, tier in sorted(tiers.items()) if tier.spec.external),
    )
    config = table.config_map(router, table.table(cascades, tiers))
    wanted = desired.children(router, ctx.settings.now, table=config)
    kinds = {manifest["kind"] for manifest in wanted}
    absent = [(kind, key.name) for kind in desired.KINDS if kind not in kinds]
    return await converge(ctx, key.namespace, wanted, ours=ours, absent=absent)


async def _write_statuses(
    key: Key,
    items: Sequence[Manifest],
    cascades: Sequence[Cascade],
    tiers: dict[str, ModelTier],
    failure: Cause | None,
    ctx: Context,
) -> None:
    deployment = ctx.view.get(Key("Deployment", key.namespace, key.name))
    router_pods = ctx.view.list("Pod", namespace=key.namespace, labels={names.LABEL_ROUTER: key.name})
    ready = int((deployment or {}).get("status", {}).get("readyReplicas", 0))
    why = pods.cause(deployment, router_pods, pool=None) if deployment and not ready else None
    conflicts = table.accepted(cascades).conflicts
    stored = ctx.view.get(Key("ConfigMap", key.namespace, names.route_table(key.name)))
    for item, cascade in zip(items, cascades, strict=True):
        seen = cascade_status.Observed(
            tiers=tiers,
            table_current=_programmed(cascade, tiers, stored),
            router_ready=ready,
            router_cause=why,
            name_taken_by=conflicts.get(cascade.metadata.name),
            failure=failure,
            paused=paused(item),
        )
        status = cascade_status.status(cascade, seen, now_s=ctx.clock.now_s())
        own = Key("Cascade", key.namespace, cascade.metadata.name)
        await write_status(own, item, status, cascade_status.TYPES, ctx)


def _programmed(cascade: Cascade, tiers: dict[str, ModelTier], stored: Manifest | None) -> bool:
    """Whether the stored table holds what the Cascade should be."""
    route = table.cascade_route(cascade, tiers)
    if stored is None or route is None:
        return False
    return contains(table.stored_cascades(stored).get(cascade.metadata.name), table.encoded(route))


def _cascades(ctx: Context, namespace: str) -> list[Manifest]:
    cascades = ctx.view.list("Cascade", namespace=namespace)
    return [item for item in cascades if "deletionTimestamp" not in item["metadata"]]


def _serves(item: Manifest, router: str) -> bool:
    return desired.of_cascade(Cascade.model_validate(item)) == router


def _tiers(ctx: Context, cascades: Sequence[Cascade]) -> dict[str, ModelTier]:
    """The tiers that the Cascades name and that exist."""
    wanted = {
        (cascade.metadata.namespace, step.tier_ref.name)
        for cascade in cascades
        for step in cascade.spec.tiers
    }
    items = [ctx.view.get(Key("ModelTier", *place)) for place in sorted(wanted)]
    found = [
        ModelTier.model_validate(item)
        for item in items
        if item and "deletionTimestamp" not in item["metadata"]
    ]
    return {tier.metadata.name: tier for tier in found}
