"""Reconciles a ModelTier over a workload that somebody else runs: looks, may scale it, says so.  Nothing else is touched.

No watch brings such a workload, as it does not carry our labels: it is looked at every few seconds.  Routers follow
its endpoints by themselves, at once.
"""

from dataclasses import dataclass, replace

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
from modelfleet.diff import adopted_status, reverts, tier_status
from modelfleet.diff.adopted import Found, Judged, judge, running
from modelfleet.diff.changes import controlled_by
from modelfleet.diff.pods import Cause
from modelfleet.errors import ClusterError, Conflict, InvalidSpec

LOOK_S = 5.0
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of scaling it.  `error` is raised once it was told; `why` is what is told of it."""

    found: Found
    why: Cause | None = None
    error: ClusterError | None = None


async def reconcile_adopted(
    key: Key, item: Manifest, tier: ModelTier, existing: ExistingWorkload, ctx: Context
) -> float:
    """Look at the workload, have it scaled to what was decided, and say in the tier's status how it is."""
    if not paused(item):
        await _drop_children(tier, ctx)
    attempt = _Attempt(await ctx.workloads.look(key.namespace, existing), why=_misspelled(tier, ctx))
    judged = _judge(key, tier, attempt.found, ctx)
    ctx.view.adopt(key.namespace, names.tier_child(key.name), judged.pods)

    wanted = _wanted(tier, judged)
    if paused(item) or tier.spec.suspend or attempt.why is not None:
        ctx.resized.pop(key, None)  # Who changes it meanwhile sets nothing of ours back.
    elif wanted is not None and wanted != judged.running:
        attempt = await _resize(key, existing, attempt.found, wanted, ctx)
        judged = _judge(key, tier, attempt.found, ctx)

    status = adopted_status.status(tier, _seen(item, existing, judged, attempt), now_s=ctx.clock.now_s())
    await write_status(key, item, status, tier_status.TYPES, ctx)
    if attempt.error is not None:
        raise attempt.error
    return LOOK_S


async def _resize(key: Key, existing: ExistingWorkload, found: Found, wanted: int, ctx: Context) -> _Attempt:
    try:
        scale = await ctx.workloads.resize(key.namespace, existing, found, wanted)
    except Conflict:
        raise  # Looked at again in a moment, with what the other wrote.
    except ClusterError as err:
        if err.status == _FORBIDDEN:
            return _Attempt(replace(found, forbidden=(*found.forbidden, _right(existing))))
        return _Attempt(found, why=refusal(err), error=err)
    ctx.resized[key] = reverts.wrote(ctx.resized.get(key), wanted)
    return _Attempt(replace(found, scale=scale))


def _seen(
    item: Manifest, existing: ExistingWorkload, judged: Judged, attempt: _Attempt
) -> adopted_status.Observed:
    scale = attempt.found.scale
    told = (scale or {}).get("status") or {}
    return adopted_status.Observed(
        judged=judged,
        endpoint=desired.endpoint(existing, namespace=item["metadata"]["namespace"], port=judged.port),
        selector=told.get("selector", ""),
        replicas=int(told.get("replicas", 0)) if scale else len(judged.pods),
        wanted=judged.running,
        failure=attempt.why,
        paused=paused(item),
    )


def release(key: Key, ctx: Context) -> None:
    """Forget the workload of a tier that has none, or is no more."""
    ctx.view.adopt(key.namespace, names.tier_child(key.name), ())
    ctx.resized.pop(key, None)


def recall(ctx: Context) -> None:
    """Take what tiers say of their workloads for true until these were looked at.

    A new leader has looked at nothing yet: without this it would take all of them for dead, and route around them.
    """
    for item in ctx.view.list("ModelTier"):
        if "existing" in item["spec"]:
            tier = ModelTier.model_validate(item)
            key = Key("ModelTier", tier.metadata.namespace, tier.metadata.name)
            ctx.view.adopt(key.namespace, names.tier_child(key.name), _recalled(tier))


def _recalled(tier: ModelTier) -> list[Manifest]:
    told = next((each for each in tier.status.conditions if each.type == "WorkloadAvailable"), None)
    since = (told.last_transition_time if told else None) or ""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    return [
        {"metadata": {"name": f"recalled-{number}"}, "status": {"conditions": [ready]}}
        for number in range(tier.status.ready_replicas or 0)
    ]


def _misspelled(tier: ModelTier, ctx: Context) -> Cause | None:
    try:
        desired_tier.pool(tier, ctx.settings.now)
    except InvalidSpec as err:
        return Cause(err.reason, err.message, stuck=True, missing_ref=True)
    return None


async def _drop_children(tier: ModelTier, ctx: Context) -> None:
    """What the tier had while it ran pods of its own."""
    children = desired_tier.tier(tier, ctx.settings.now, revision=None, replicas=0)
    ours = controlled_by(tier.metadata.uid)
    await converge(ctx, tier.metadata.namespace, children.wanted, ours=ours, absent=children.absent)


def _judge(key: Key, tier: ModelTier, found: Found, ctx: Context) -> Judged:
    known = reverts.looked(ctx.resized.get(key), running=running(found), now_s=ctx.clock.now_s())
    if known is not None:
        ctx.resized[key] = known
    items = ctx.view.list("ModelTier", namespace=key.namespace)
    adopting = [each for each in items if "existing" in each["spec"] and each["metadata"]["name"] != key.name]
    ref = tier.spec.existing.scale_target_ref if tier.spec.existing else None
    return judge(
        tier,
        found,
        others=[ModelTier.model_validate(each) for each in adopting],
        # The watches bring our own Deployments and no others.
        ours=ref is not None and ctx.view.get(Key(ref.kind, key.namespace, ref.name)) is not None,
        contested=reverts.contested(known),
    )


def _right(existing: ExistingWorkload) -> str:
    ref = existing.scale_target_ref
    assert ref is not None
    return f"update the scale of {ref.kind} in {ref.api_version}"


def _wanted(tier: ModelTier, judged: Judged) -> int | None:
    """What the target should be asked for; None where that is not ours to say."""
    if judged.running is None or judged.unscalable is not None or judged.rival is not None:
        return None
    return desired.replicas(tier, running=judged.running)
