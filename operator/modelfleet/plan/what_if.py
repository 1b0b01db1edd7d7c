"""The last look at a Cascade, as it would have been with other specs."""

from collections.abc import Mapping
from dataclasses import replace

from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.plan import demand
from modelfleet.plan.behavior import behavior
from modelfleet.plan.group import pooled
from modelfleet.plan.load import CascadeLoad
from modelfleet.plan.planner import Settings, TierLook
from modelfleet.plan.profiles import PROFILES, engine_of
from modelfleet.plan.record import Record
from modelfleet.plan.snapshot import Name


def what_if(
    record: Record, cascade: Cascade | None, tiers: Mapping[str, ModelTier], settings: FleetSettings
) -> Record:
    """The record with these specs in it; its plan is the old one.  Raises ValueError for what no plan is made of.

    `tiers`: those that change, by name.  Shares change where the Cascade is planned alone; with others it keeps them.
    """
    look, how = record.look, record.settings
    if cascade is not None:
        if cascade.spec.slo is None:
            raise ValueError(f"Cascade {cascade.metadata.name} has no slo: nothing would be planned")
        look = replace(look, goals=demand.goals([cascade]))
        if len(record.cascades) == 1:
            look, how = replace(look, tiers=_shared(record, cascade, tiers)), _settings(record, cascade)
            # What is left of a budget nobody here knows; that there is none, the file says.
            look = look if cascade.spec.budget is not None else replace(look, bounds=())
    unknown = tiers.keys() - {tier.name for tier in look.tiers}
    if unknown:
        raise ValueError(f"not planned with {record.owner} so far: {', '.join(sorted(unknown))}")
    changed = [_tier(tier, tiers[tier.name], settings) if tier.name in tiers else tier for tier in look.tiers]
    return replace(record, look=replace(look, tiers=tuple(changed)), settings=how)


def _shared(record: Record, cascade: Cascade, tiers: Mapping[str, ModelTier]) -> tuple[TierLook, ...]:
    name = Name(cascade.metadata.namespace, cascade.metadata.name)
    named = {step.tier_ref.name for step in cascade.spec.tiers}
    planned = {tier.name for tier in record.look.tiers}
    if not planned <= named:
        raise ValueError(
            f"tiers that are planned now and would not be named: {', '.join(sorted(planned - named))}"
        )
    known = {Name(name.namespace, tier): tiers.get(tier, _ANY) for tier in named}
    shares = demand.shares({name: cascade}, {name: CascadeLoad()}, known)
    return tuple(
        replace(tier, share=shares.get(Name(name.namespace, tier.name), 0.0)) for tier in record.look.tiers
    )


def _settings(record: Record, cascade: Cascade) -> Settings:
    return replace(record.settings, pooled=pooled(cascade, planned=len(record.look.tiers)))


def _tier(look: TierLook, tier: ModelTier, settings: FleetSettings) -> TierLook:
    scaling = tier.spec.scaling
    if scaling is None or scaling.metrics:
        return replace(look, replicas_min=look.replicas, replicas_max=look.replicas)
    engine = engine_of(tier, settings)
    if engine is None and scaling.profile is not None:
        # The operator's own settings may have it, though those given here do not.
        if look.engine is None or look.engine.name != scaling.profile:
            known = ", ".join(sorted({*settings.profiles, *PROFILES}))
            raise ValueError(f"there is no profile {scaling.profile}; there are: {known}")
        engine = look.engine
    told = settings.profiles.get(scaling.profile) if scaling.profile else None
    lead_s = seconds(told.cold_start) if told is not None and told.cold_start else look.lead_s
    return replace(
        look,
        engine=engine,
        slots=tier.slots or 0,
        lead_s=lead_s,
        replicas_min=max(1, scaling.min_replicas),
        replicas_max=scaling.max_replicas,
        down_s=behavior(scaling.behavior).down.window_s,
    )


_ANY = ModelTier.model_validate({"metadata": {"name": "any"}, "spec": {"llamaCpp": {}}})
