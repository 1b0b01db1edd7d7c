"""Which Cascades are planned together: those that share tiers, since a replica can be given only once.

Their demand is added up, the strictest objectives of them hold, and the first of them by name keeps what was learned.
A tier whose size somebody else decides - its own metrics, or spec.replicas - is part of the plan as it is.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from modelfleet.api import pins
from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.model_tier import ModelTier
from modelfleet.plan.profiles import PROFILES, profile
from modelfleet.plan.snapshot import Name, Unplanned


@dataclass(frozen=True, slots=True)
class Group:
    """Cascades of one namespace.  `tiers`: ModelTiers with replicas of ours, cheapest first."""

    owner: Name
    cascades: tuple[Name, ...]
    tiers: tuple[Name, ...]
    # Routers move requests between all these tiers within a second, so a peak has to fit into all of them together.
    pooled: bool


def groups(cascades: Mapping[Name, Cascade], tiers: Mapping[Name, ModelTier]) -> list[Group]:
    """The groups in which some Cascade says what to keep."""
    mine = {name: _tiers(name, cascade, tiers) for name, cascade in sorted(cascades.items())}
    users: dict[Name, list[Name]] = defaultdict(list)
    for name, named in mine.items():
        for tier in named:
            users[tier].append(name)
    seen: set[Name] = set()
    found = []
    for first, named in mine.items():
        if first in seen or not named:
            continue
        members = _reached(first, mine, users)
        seen.update(members)
        members.sort()
        wanting = [name for name in members if cascades[name].spec.slo is not None]
        if wanting:
            found.append(
                Group(
                    owner=wanting[0],
                    cascades=tuple(members),
                    tiers=_merged([mine[name] for name in members]),
                    pooled=_planned_all(tiers, [mine[name] for name in members])
                    and _all_pooled([cascades[name] for name in members], [mine[name] for name in members]),
                )
            )
    return found


def _reached(
    first: Name, mine: Mapping[Name, Sequence[Name]], users: Mapping[Name, list[Name]]
) -> list[Name]:
    """A Cascade and all that share tiers with it, or with those that do."""
    members = {first}
    left = [first]
    while left:
        for tier in mine[left.pop()]:
            joining = [name for name in users[tier] if name not in members]
            members.update(joining)
            left += joining
    return list(members)


def unplanned(
    name: Name, tier: ModelTier, planned: Collection[Name], settings: FleetSettings
) -> Unplanned | None:
    """Why a tier without metrics of its own is in no plan; None where it is one of the `planned`."""
    scaling = tier.spec.scaling
    if scaling is None or scaling.metrics:
        return None
    if scaling.profile is not None and profile(scaling.profile, settings) is None:
        known = ", ".join(sorted({*settings.profiles, *PROFILES}))
        text = (
            f"There is no profile {scaling.profile} in the operator's settings, holding; there are: {known}"
        )
        return Unplanned("ProfileUnknown", text)
    if name in planned:
        return None
    text = "Nothing says what to keep, holding: give scaling.metrics, or slo in a Cascade that names the tier"
    return Unplanned("NoObjective", text)


def moves(cascade: Cascade) -> bool:
    """Whether routers may move the entries of a Cascade between its tiers.

    Not where answers are judged: entries past the judge are not what its user asked for.
    """
    spec = cascade.spec
    pinned = pins.weights(cascade.metadata.annotations, tiers=[step.name for step in spec.tiers]).weights
    return (
        spec.weights.mode == "Auto"
        and not pinned
        and len(spec.tiers) > 1
        and all(step.accept is None for step in spec.tiers)
    )


def pooled(cascade: Cascade, *, planned: int) -> bool:
    """Whether all its tiers share one peak; `planned`: how many of them have replicas of ours."""
    return planned == 1 or (moves(cascade) and len(cascade.spec.tiers) == planned)


def _tiers(name: Name, cascade: Cascade, tiers: Mapping[Name, ModelTier]) -> tuple[Name, ...]:
    if any(each.type == "Accepted" and each.status == "False" for each in cascade.status.conditions):
        return ()  # In no route table: nothing comes from it.
    named = dict.fromkeys(Name(name.namespace, step.tier_ref.name) for step in cascade.spec.tiers)
    return tuple(
        tier
        for tier in named
        if tier in tiers and tiers[tier].spec.external is None and not tiers[tier].spec.suspend
    )


def _planned_all(tiers: Mapping[Name, ModelTier], named: list[tuple[Name, ...]]) -> bool:
    # Where somebody else sizes one of them, the others cannot make up for it: each carries its own peak.
    found = [tiers[name].spec.scaling for each in named for name in each]
    return all(scaling is not None and not scaling.metrics for scaling in found)


def _all_pooled(cascades: list[Cascade], tiers: list[tuple[Name, ...]]) -> bool:
    # What comes by a Cascade with other tiers cannot be moved to these.
    return len({*tiers}) == 1 and all(pooled(cascade, planned=len(tiers[0])) for cascade in cascades)


def _merged(lists: list[tuple[Name, ...]]) -> tuple[Name, ...]:
    """All of them once, each after the one that some list has before it."""
    merged: list[Name] = []
    for one in lists:
        place = 0
        for tier in one:
            if tier not in merged:
                merged.insert(place, tier)
            place = merged.index(tier) + 1
    return tuple(merged)
