"""Reconciles one router of a namespace, and the status of the Cascades that it serves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.control import outages
from modelfleet.control.children import again_s, converge, refusal
from modelfleet.control.context import Context
from modelfleet.control.ports import Key
from modelfleet.control.status_writes import paused, write_status
from modelfleet.desired import router as desired
from modelfleet.desired import table
from modelfleet.diff import cascade_status, pods
from modelfleet.diff.changes import owned_by_any
from modelfleet.diff.pods import Cause
from modelfleet.errors import ClusterError, Conflict

REPORTS_S = 15.0  # how often routers are asked for what only they know
ROUTER = "Router"  # not an API kind: the key of a router's children


@dataclass(frozen=True, slots=True)
class _World:
    """What a router has to do with: its Cascades, as stored and parsed, and the tiers they name."""

    key: Key
    items: Sequence[Manifest]
    cascades: Sequence[Cascade]
    tiers: Mapping[str, ModelTier]
    stored: Manifest | None  # the ConfigMap with the route table


async def reconcile_router(key: Key, ctx: Context) -> float | None:
    """Bring the router's children and route table to what its Cascades want; then the Cascades' status."""
    world = _observe(key, ctx)
    error: ClusterError | None = None
    failure: Cause | None = None
    if not world.items or not all(map(paused, world.items)):
        try:
            failure = await _converge(world, ctx)
        except Conflict:
            raise  # Looked at again in a moment, with what the other wrote.
        except ClusterError as err:
            error, failure = err, refusal(err)
    world = _observe(key, ctx)
    asks = await _ask_routers(world, ctx)
    await _write_statuses(world, failure, ctx)
    if error is not None:
        raise error
    return REPORTS_S if asks else again_s(failure)


async def _ask_routers(world: _World, ctx: Context) -> bool:
    """Learn what the router knows of external tiers and of their keys, and how many of its clients' it finds.

    Whether there is anything to ask.  Silence changes nothing.
    """
    running = _ready_pods(world.key, ctx)
    addresses = [address for pod in running if (address := pod["status"].get("podIP"))]
    externals = {name: tier.spec.external for name, tier in world.tiers.items() if tier.spec.external}
    for_tiers = any(external.api_key_secret_ref for external in externals.values())
    await outages.learn(world.key, externals, addresses, ctx)
    for_clients = ctx.settings.now.router.api_keys is not None
    if not for_tiers:
        ctx.keys_missing.pop(world.key, None)
    elif (missing := await ctx.reports.keys_missing(addresses)) is not None:
        ctx.keys_missing[world.key] = missing & set(world.tiers)
    if not for_clients:
        ctx.keys_usable.pop(world.key, None)
    elif (usable := await ctx.reports.keys_usable(addresses)) is not None:
        ctx.keys_usable[world.key] = usable
    return bool(externals) or for_clients


def _router_pods(key: Key, ctx: Context) -> Sequence[Manifest]:
    return ctx.view.list("Pod", namespace=key.namespace, labels={names.LABEL_ROUTER: key.name})


def _ready_pods(key: Key, ctx: Context) -> Sequence[Manifest]:
    return [pod for pod in _router_pods(key, ctx) if pods.pod_ready(pod)]


def _observe(key: Key, ctx: Context) -> _World:
    found = ctx.view.list("Cascade", namespace=key.namespace)
    living = [item for item in found if "deletionTimestamp" not in item["metadata"]]
    pairs = [(item, Cascade.model_validate(item)) for item in living]
    served = [(item, cascade) for item, cascade in pairs if desired.of_cascade(cascade) == key.name]
    cascades = [cascade for _, cascade in served]
    return _World(
        key=key,
        items=[item for item, _ in served],
        cascades=cascades,
        tiers=_tiers(cascades, ctx),
        stored=ctx.view.get(Key("ConfigMap", key.namespace, names.route_table(key.name))),
    )


def _tiers(cascades: Sequence[Cascade], ctx: Context) -> dict[str, ModelTier]:
    """The tiers that the Cascades name and that exist."""
    wanted = {
        (cascade.metadata.namespace, step.tier_ref.name)
        for cascade in cascades
        for step in cascade.spec.tiers
    }
    items = [ctx.view.get(Key("ModelTier", *place)) for place in sorted(wanted)]
    living = [item for item in items if item and "deletionTimestamp" not in item["metadata"]]
    return {item["metadata"]["name"]: ModelTier.model_validate(item) for item in living}


async def _converge(world: _World, ctx: Context) -> Cause | None:
    key = world.key
    ours = owned_by_any("Cascade")
    if not world.cascades:
        gone = [(kind, key.name) for kind in desired.KINDS if kind != "ConfigMap"]
        gone.append(("ConfigMap", names.route_table(key.name)))
        return await converge(ctx, key.namespace, (), ours=ours, absent=gone)
    router = desired.Router(
        name=key.name,
        namespace=key.namespace,
        cascades=tuple(world.cascades),
        external_tiers=tuple(tier for _, tier in sorted(world.tiers.items()) if tier.spec.external),
    )
    frozen = {item["metadata"]["name"] for item in world.items if paused(item)}
    counted = table.rules(
        ctx.settings.now.router,
        ready=len(_ready_pods(key, ctx)),
        wanted=desired.replicas(router, ctx.settings.now),
    )
    rules = replace(counted, wake=ctx.wake)
    routes = table.table(world.cascades, world.tiers, rules=rules, frozen=frozen, stored=world.stored)
    wanted = desired.children(router, ctx.settings.now, table=table.config_map(router, routes))
    kinds = {manifest["kind"] for manifest in wanted}
    gone = [(kind, key.name) for kind in desired.KINDS if kind not in kinds]
    return await converge(ctx, key.namespace, wanted, ours=ours, absent=gone)


async def _write_statuses(world: _World, failure: Cause | None, ctx: Context) -> None:
    key = world.key
    deployment = ctx.view.get(Key("Deployment", key.namespace, key.name))
    ready = int((deployment or {}).get("status", {}).get("readyReplicas", 0))
    why = pods.cause(deployment, _router_pods(key, ctx), pool=None) if deployment and not ready else None
    conflicts = table.accepted(world.cascades).conflicts
    api_keys = ctx.settings.now.router.api_keys
    for item, cascade in zip(world.items, world.cascades, strict=True):
        seen = cascade_status.Observed(
            endpoint=desired.endpoint(cascade),
            router=key.name,
            tiers=world.tiers,
            table_current=_programmed(cascade, world),
            router_ready=ready,
            router_cause=why,
            name_taken_by=conflicts.get(cascade.metadata.name),
            failure=failure,
            keys_missing=ctx.keys_missing.get(key, frozenset()),
            paused=paused(item),
            api_keys=api_keys.secret_ref.name if api_keys else None,
            api_keys_usable=ctx.keys_usable.get(key),
        )
        status = cascade_status.status(cascade, seen, now_s=ctx.clock.now_s())
        own = Key("Cascade", key.namespace, cascade.metadata.name)
        await write_status(own, item, status, cascade_status.TYPES, ctx)


def _programmed(cascade: Cascade, world: _World) -> bool:
    """Whether the stored table holds what the Cascade should be."""
    route = table.cascade_route(cascade, world.tiers)
    if world.stored is None or route is None:
        return False
    return table.stored_cascades(world.stored).get(cascade.metadata.name) == table.encoded(route)
