"""What routers tell of external tiers, kept until they tell something else.

A tier is out when each of its routers tells so.  Silence changes nothing: a router that does not answer is restarting,
and an operator that has just started knows less than the status that it wrote before.
"""

from collections.abc import Collection, Sequence

from modelfleet.api.model_tier import ModelTier
from modelfleet.control.context import Context
from modelfleet.control.ports import Key


async def learn(router: Key, externals: Collection[str], addresses: Sequence[str], ctx: Context) -> None:
    """Ask a router of these external tiers, and have those looked at of which it tells something new."""
    told = await ctx.reports.outages(addresses) if externals else {}
    if told is None:
        return
    before = ctx.outages.pop(router, {})
    now = {name: told.get(name, "") for name in externals}
    if now:
        ctx.outages[router] = now
    for name in sorted({*before, *now}):
        if before.get(name, "") != now.get(name, "") or (name in before) != (name in now):
            ctx.again(Key("ModelTier", router.namespace, name))


def of(tier: ModelTier, ctx: Context) -> str | None:
    """Why no router can ask this external tier, in their word; empty: one can, or none has to; None: none has told."""
    meta = tier.metadata
    told = [
        found[meta.name]
        for router, found in ctx.outages.items()
        if router.namespace == meta.namespace and meta.name in found
    ]
    if told:
        return told[0] if all(told) else ""
    return None if _routed(tier, ctx) else ""


def _routed(tier: ModelTier, ctx: Context) -> bool:
    cascades = ctx.view.list("Cascade", namespace=tier.metadata.namespace)
    steps = [step for cascade in cascades for step in cascade["spec"].get("tiers", ())]
    return any(step.get("tierRef", {}).get("name") == tier.metadata.name for step in steps)
