"""Reconciles one ModelTier: its children, then its status.  Twice in a row, the second time writes nothing."""

from modelfleet import names
from modelfleet.api.meta import seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.control import outages
from modelfleet.control.adopted import reconcile_adopted, release
from modelfleet.control.children import again_s, converge, refusal
from modelfleet.control.context import Context
from modelfleet.control.ports import Key
from modelfleet.control.status_writes import paused, write_status
from modelfleet.desired import model_source
from modelfleet.desired import tier as desired
from modelfleet.diff import tier_status
from modelfleet.diff.changes import controlled_by
from modelfleet.diff.pods import Cause
from modelfleet.errors import ClusterError, Conflict, InvalidSpec, NotYet


async def reconcile_tier(key: Key, ctx: Context) -> float | None:
    """Bring the world to what the tier wants, and say in its status how far that went."""
    item = ctx.view.get(key)
    if item is None or "deletionTimestamp" in item["metadata"]:
        release(key, ctx)
        return None  # Owner references collect the children.
    tier = ModelTier.model_validate(item)
    if tier.spec.existing is not None:
        return await reconcile_adopted(key, item, tier, tier.spec.existing, ctx)
    release(key, ctx)
    child = Key("Deployment", key.namespace, names.tier_child(key.name))
    replicas = desired.replicas(tier, ctx.view.get(child))
    revision = await _revision(tier, ctx)

    error: ClusterError | None = None
    failure: Cause | None = None
    if not paused(item):
        try:
            failure = await _converge(tier, ctx, revision=revision, replicas=replicas)
        except InvalidSpec as err:
            failure = Cause(err.reason, err.message, stuck=True, missing_ref=True)
        except Conflict:
            raise  # Looked at again in a moment, with what the other wrote.
        except ClusterError as err:
            error, failure = err, refusal(err)

    source = model_source.source_id(tier.spec.model) if tier.spec.model else None
    seen = tier_status.Observed(
        endpoint=desired.endpoint(tier),
        selector=desired.selector(tier),
        source=source,
        pinned=model_source.is_commit(revision or ""),
        deployment=ctx.view.get(child),
        pods=ctx.view.list("Pod", namespace=key.namespace, labels={names.LABEL_TIER: child.name}),
        revision=revision,
        wanted_replicas=replicas,
        failure=failure,
        paused=paused(item),
        outage=outages.of(tier, ctx) if tier.spec.external is not None else None,
    )
    await write_status(
        key, item, tier_status.status(tier, seen, now_s=ctx.clock.now_s()), tier_status.TYPES, ctx
    )
    if error is not None:
        raise error
    return again_s(failure)


async def _converge(tier: ModelTier, ctx: Context, *, revision: str | None, replicas: int) -> Cause | None:
    children = desired.tier(tier, ctx.settings.now, revision=revision, replicas=replicas)
    return await converge(
        ctx,
        tier.metadata.namespace,
        children.wanted,
        ours=controlled_by(tier.metadata.uid),
        absent=children.absent,
    )


async def _revision(tier: ModelTier, ctx: Context) -> str | None:
    """The commit to serve: the one that was resolved for this source before, or what the hub says now.

    Resolved once: a branch that moves must not replace pods that nobody asked to replace.
    """
    source = tier.spec.model
    repository = model_source.hub_repository(source) if source else None
    if source is None or repository is None or model_source.is_commit(source.revision):
        return source.revision if source and repository else None
    before = tier.status.model
    if before and before.revision and before.source == model_source.source_id(source):
        return before.revision
    hub = ctx.settings.now.hub
    try:
        commit = await ctx.hub.commit(
            repository, source.revision, endpoint=hub.endpoint, timeout_s=seconds(hub.timeout)
        )
    except NotYet:
        return source.revision
    return commit or source.revision
