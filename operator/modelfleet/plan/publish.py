"""What routers are told, so that they can move entries by themselves between two plans: numbers that stay calm.

Everything that is published goes through a status, a route table and every router.  So it follows the plan only when
that moved far enough to be news.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from modelfleet.api.cascade import Cascade, owed_permille, permille
from modelfleet.plan.fleet import Planned
from modelfleet.plan.group import moves
from modelfleet.plan.snapshot import Name

_HOUR_S = 3600.0
PERMILLE = 1000
_NEWS = 0.05  # part by which a number has to move


@dataclass(frozen=True, slots=True)
class Carries:
    """Of one replica: requests per hour within the objectives, and how many are under way then, at least 1."""

    per_hour: int
    under_way: int


Law = Mapping[str, Carries]  # by step of a Cascade; empty: its routers keep to their table


def law(planned: Planned, name: Name, cascade: Cascade, *, part: float, shown: Law) -> Law:
    """For one Cascade of a group; `part` of the group's requests are its own, so it has that part of every replica.

    A plan that had nothing to go by changes nothing.
    """
    group = planned.planning.group
    if not group.pooled or not moves(cascade):
        return {}
    tiers = dict(zip(group.tiers, planned.plan.tiers, strict=True))
    named = {step.name: Name(name.namespace, step.tier_ref.name) for step in cascade.spec.tiers}
    if any(tier not in tiers for tier in named.values()):
        return {}  # beside one that is external, suspended or gone nobody knows what a replica is to carry
    steps = {step: tiers[tier] for step, tier in named.items()}
    if any(tier.carries_rps <= 0 for tier in steps.values()):
        return shown
    found = {
        step: Carries(
            per_hour=max(1, round(tier.carries_rps * part * _HOUR_S)),
            under_way=max(1, round(tier.under_way * part)),
        )
        for step, tier in steps.items()
    }
    return found if shown.keys() != found.keys() or any(_news(found[s], shown[s]) for s in found) else shown


def _news(now: Carries, shown: Carries) -> bool:
    return abs(now.per_hour - shown.per_hour) > _NEWS * shown.per_hour or abs(
        now.under_way - shown.under_way
    ) > max(1.0, _NEWS * shown.under_way)


def weights(cascade: Cascade) -> dict[str, int] | None:
    """Entry weights in permille while the load is as planned; None where routers do not move entries by a plan.

    They are what a router that is older, or has just begun, goes by, and what is shown.
    """
    owed = owed_permille(cascade)
    if owed is None:
        return None
    *before, last = [step.name for step in cascade.spec.tiers]
    carries = {tier.name: tier.carries_per_hour or 0 for tier in cascade.status.tiers}
    rest = permille({name: carries[name] for name in before})
    entering = {name: part * (PERMILLE - owed) // PERMILLE for name, part in rest.items()}
    entering[before[0]] += PERMILLE - owed - sum(entering.values())
    return {**entering, last: owed}
