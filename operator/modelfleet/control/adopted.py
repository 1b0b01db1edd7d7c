"""Reconciles a ModelTier over a workload that somebody else runs: looks, may scale it, says so.  Nothing else is touched.

No watch brings such a workload, as it does not carry our labels: it is looked at every few seconds.  Routers follow
its endpoints by themselves, at once.
"""

from dataclasses import replace

from modelfleet import names
from modelfleet.api.existing import ExistingWorkload
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.children import converge, refusal
from modelfleet.control.context import Context
from modelfleet.control.ports import Key
from modelfleet.control.status_writes import paused, write_status
from modelfleet.desired import adopted as desired
from modelfleet.desired import tier as desired_tier
from modelfleet.diff import adopted_status, tier_status
from modelfleet.diff.adopted import Found, Judged, judge
from modelfleet.diff.changes import controlled_by
from modelfleet.diff.pods import Cause
from modelfleet.errors import ClusterError, Conflict

LOOK_S = 5.0
_FORBIDDEN = 403


async def reconcile_adopted(
    key: Key, item: Manifest, tier: ModelTier, existing: ExistingWorkload, ctx: Context
) -> float:
    """Look at the workload, have it scaled to what was decided, and say in the tier's status how it is."""
    if not paused(item):
        await _drop_children(tier, ctx)
    found = await ctx.workloads.look(key.namespace, existing)
    judged = _judge(tier, found, ctx)
    ctx.view.adopt(key.namespace, names.tier_child(key.name), judged.pods)

    failure: Cause | None = None
    error: ClusterError | None = None
    wanted = _wanted(tier, judged)
    if wanted is not None and wanted != judged.running and not paused(item):
        try:
            found = replace(found, scale=await ctx.workloads.resize(key.namespace, existing, found, wanted))
        except Conflict:
            raise  # Looked at again in a moment, with what the other wrote.
        except ClusterError as err:
            if err.status == _FORBIDDEN:
                found = replace(found, forbidden=(*found.forbidden, _right(existing)))
            else:
                error, failure = err, refusal(err)
        judged = _judge(tier, found, ctx)

    scale_status = (found.scale or {}).get("status") or {}
    seen = adopted_status.Observed(
        judged=judged,
        endpoint=desired.endpoint(existing, namespace=key.namespace, port=judged.port),
        selector=scale_status.get("selector", ""),
        replicas=int(scale_status.get("replicas", 0)) if found.scale else len(judged.pods),
        wanted=judged.running,
        failure=failure,
        paused=paused(item),
    )
    status = adopted_status.status(tier, seen, now_s=ctx.clock.now_s())
    await write_status(key, item, status, tier_status.TYPES, ctx)
    if error is not None:
        raise error
    return LOOK_S


async def _drop_children(tier: ModelTier, ctx: Context) -> None:
    """What the tier had while it ran pods of its own."""
    children = desired_tier.tier(tier, ctx.settings.now, revision=None, replicas=0)
    ours = controlled_by(tier.metadata.uid)
    await converge(ctx, tier.metadata.namespace, children.wanted, ours=ours, absent=children.absent)


def _judge(tier: ModelTier, found: Found, ctx: Context) -> Judged:
    namespace, name = tier.metadata.namespace, tier.metadata.name
    items = ctx.view.list("ModelTier", namespace=namespace)
    adopting = [each for each in items if "existing" in each["spec"] and each["metadata"]["name"] != name]
    others = [ModelTier.model_validate(each) for each in adopting]
    ref = tier.spec.existing.scale_target_ref if tier.spec.existing else None
    # The watches bring our own Deployments and no others.
    ours = ref is not None and ctx.view.get(Key(ref.kind, namespace, ref.name)) is not None
    return judge(tier, found, others=others, ours=ours)


def _right(existing: ExistingWorkload) -> str:
    ref = existing.scale_target_ref
    assert ref is not None
    return f"update the scale of {ref.kind} in {ref.api_version}"


def _wanted(tier: ModelTier, judged: Judged) -> int | None:
    """What the target should be asked for; None where that is not ours to say."""
    if judged.running is None or judged.unscalable is not None or judged.rival is not None:
        return None
    return desired.replicas(tier, running=judged.running)
