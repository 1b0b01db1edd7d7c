"""Cascades and tiers -> the route table that a router reads."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from modelfleet import names
from modelfleet.api import cascade as api
from modelfleet.api import pins
from modelfleet.api.cascade import Cascade, CascadeTier, initial_weights, owed_permille, permille, unpriced
from modelfleet.api.fleet_settings import RouterSettings
from modelfleet.api.meta import Manifest, seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.policies import DataPolicy
from modelfleet.api.route_table import (
    BudgetSpent,
    CascadeRoute,
    DataRule,
    LastHour,
    OverflowRule,
    RouterRules,
    RouteTable,
    TierRoute,
    encode,
)
from modelfleet.api.route_table_reader import decode
from modelfleet.desired import router
from modelfleet.desired.tier_route import tier_route

_PERMILLE = 1000
_PER_PERCENT = 10
_NO_RULES = RouterRules()


@dataclass(frozen=True, slots=True)
class Accepted:
    """Cascades of one router, split by who may keep its model name.  `conflicts`: loser's name -> winner's name."""

    cascades: tuple[Cascade, ...]
    conflicts: Mapping[str, str]


def accepted(cascades: Sequence[Cascade]) -> Accepted:
    """Two Cascades with one modelName: the older keeps it; of equal age, the first by name."""
    winners: dict[str, Cascade] = {}
    conflicts: dict[str, str] = {}
    for cascade in sorted(cascades, key=_age):
        winner = winners.setdefault(cascade.spec.model_name, cascade)
        if winner is not cascade:
            conflicts[cascade.metadata.name] = winner.metadata.name
    return Accepted(tuple(sorted(winners.values(), key=lambda cascade: cascade.metadata.name)), conflicts)


def _age(cascade: Cascade) -> tuple[str, str]:
    return cascade.metadata.creation_timestamp or "", cascade.metadata.name


def table(
    cascades: Sequence[Cascade],
    tiers: Mapping[str, ModelTier],
    *,
    rules: RouterRules = _NO_RULES,
    frozen: Collection[str] = (),
    stored: Manifest | None = None,
) -> RouteTable:
    """What the router should do.  A Cascade none of whose tiers can be used is left out.

    The Cascades named in `frozen` stay as they are in the `stored` table.  One that cannot be read, as a newer operator
    may have left it, keeps nothing: all are as they should be then, for routers would lose them otherwise.
    """
    before = _decoded(stored) if frozen else None
    routes = (
        before.get(cascade.metadata.name)
        if before is not None and cascade.metadata.name in frozen
        else cascade_route(cascade, tiers)
        for cascade in accepted(cascades).cascades
    )
    return RouteTable(cascades=tuple(route for route in routes if route is not None), rules=rules)


def rules(settings: RouterSettings, *, ready: int, wanted: int) -> RouterRules:
    """What holds for each router.  `ready`: routers that serve now, `wanted`: routers that should.

    While none is ready the first of them must not take the whole of every limit for itself: the others follow soon.
    """
    return RouterRules(
        routers=max(1, ready or wanted),
        access_log_percent=settings.access_log.sample_percent,
        tracing_endpoint=settings.tracing.endpoint or "",
        tracing_percent=settings.tracing.sample_percent,
        external_allow=tuple(settings.external_addresses.allow),
        external_deny=tuple(settings.external_addresses.deny),
    )


def _decoded(stored: Manifest | None) -> dict[str, CascadeRoute] | None:
    """The Cascades of a stored table, none where there is no table; None where it cannot be read."""
    if stored is None:
        return {}
    try:
        routes = decode(json.loads(stored.get("data", {})[names.ROUTE_TABLE_KEY]))
    except (KeyError, ValueError):
        return None
    return {route.cascade: route for route in routes.cascades}


def config_map(owner: router.Router, routes: RouteTable) -> Manifest:
    """The ConfigMap that holds the table."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": router.metadata(owner, name=names.route_table(owner.name)),
        "data": {names.ROUTE_TABLE_KEY: json.dumps(encode(routes), indent=1)},
    }


def cascade_route(cascade: Cascade, tiers: Mapping[str, ModelTier]) -> CascadeRoute | None:
    """One Cascade over those of its tiers that exist, run, and have a price where one is needed; None: there is none."""
    usable = [
        (step, tiers[step.tier_ref.name])
        for step in cascade.spec.tiers
        if step.tier_ref.name in tiers
        and not tiers[step.tier_ref.name].spec.suspend
        and tiers[step.tier_ref.name].found
        and not unpriced(cascade.spec, tiers[step.tier_ref.name])
    ]
    if not usable:
        return None
    shares = weights(cascade, usable=[step.name for step, _ in usable])
    chosen = {step.name: step.threshold for step in cascade.status.tiers}
    last = usable[-1][0]
    routes = [
        tier_route(step, tier, weight=shares[step.name], last=step is last, chosen=chosen.get(step.name))
        for step, tier in usable
    ]
    spec, owed = cascade.spec, _owed(cascade, usable)
    if owed is not None:
        routes = [_by_law(route, step, cascade) for route, (step, _) in zip(routes, usable, strict=True)]
    return CascadeRoute(
        cascade=cascade.metadata.name,
        model_name=cascade.spec.model_name,
        deadline_s=seconds(cascade.spec.limits.deadline),
        max_body_bytes=cascade.spec.limits.max_body_bytes,
        tiers=tuple(routes),
        max_escalations=spec.limits.max_escalations,
        hold_tokens=spec.stream.hold_back_tokens,
        hold_s=seconds(spec.stream.hold_back_time),
        observe=spec.weights.mode == "Observe",
        overflow=_overflow(spec.overflow),
        choose_tier="Tier" in spec.client_choice,
        choose_floor="MinTier" in spec.client_choice,
        max_cost_microdollars=_microdollars(spec.limits.max_cost_per_request),
        data=_data(spec.data_policy),
        spent=_spent(cascade),
        owed_permille=owed,
        last_hour=_last_hour(cascade) if owed is not None else None,
    )


def _owed(cascade: Cascade, usable: Sequence[tuple[CascadeTier, ModelTier]]) -> int | None:
    """What the last tier owes of the answers, where routers may move entries and every tier can take some.

    One that sleeps carries nothing, so a law would send nothing there, and nothing would wake it.
    """
    by_hand = pins.weights(
        cascade.metadata.annotations, tiers=[step.name for step in cascade.spec.tiers]
    ).weights
    whole = len(usable) == len(cascade.spec.tiers) and not any(tier.cold for _, tier in usable)
    return owed_permille(cascade) if whole and not by_hand else None


def _last_hour(cascade: Cascade) -> LastHour | None:
    told = cascade.status.balance
    return None if told is None else LastHour(answers=told.answers, ahead_permille=told.ahead)


def _by_law(route: TierRoute, step: CascadeTier, cascade: Cascade) -> TierRoute:
    """The tier's route with what the law of its Cascade needs."""
    told = next(tier for tier in cascade.status.tiers if tier.name == step.name)
    return replace(
        route,
        carries_per_hour=told.carries_per_hour or 0,
        under_way=told.under_way or 0,
        least_permille=step.weight.min * _PER_PERCENT if step.weight else 0,
        most_permille=step.weight.max * _PER_PERCENT if step.weight else _PERMILLE,
    )


def weights(cascade: Cascade, *, usable: Sequence[str]) -> dict[str, int]:
    """Entry weights in permille over the usable steps, summing to 1000.

    What a pin says, else what the capacity loop decided, else the spec's own.  The share of a step that is gone
    falls to the others in proportion, and to the cheapest where the others had none.
    """
    decided = {step.name: step.weight for step in cascade.status.tiers if step.weight is not None}
    fixed = cascade.spec.weights.mode == "Fixed"
    complete = sum(decided.values()) == _PERMILLE and set(decided) == {
        step.name for step in cascade.spec.tiers
    }
    full = decided if complete and not fixed else initial_weights(cascade.spec)
    pin = pins.weights(cascade.metadata.annotations, tiers=[step.name for step in cascade.spec.tiers])
    full = dict(pin.weights or full)
    kept = {name: full[name] for name in usable}
    return permille(kept) if any(kept.values()) else permille({**kept, usable[0]: 1})


def _overflow(rule: api.Overflow | None) -> OverflowRule | None:
    return None if rule is None else OverflowRule(when=tuple(rule.when), share_percent=rule.max_share)


def _microdollars(dollars: str | None) -> float | None:
    return None if dollars is None else float(Decimal(dollars) * 1_000_000)


def _spent(cascade: Cascade) -> BudgetSpent | None:
    budget, cost = cascade.spec.budget, cascade.status.cost
    if budget is None or cost is None or not cost.exhausted:
        return None
    return BudgetSpent(budget.on_exhausted, datetime.fromisoformat(cost.until).timestamp())


def _data(policy: DataPolicy | None) -> DataRule | None:
    if policy is None:
        return None
    return DataRule(
        header=policy.header.lower(),
        local_only=tuple(sorted(policy.local_only)),
        allowed=tuple(sorted(policy.allowed)),
        unknown=policy.unknown,
    )


def stored_cascades(config: Manifest) -> dict[str, Manifest]:
    """The encoded Cascades of a route-table ConfigMap by name; empty when it cannot be read."""
    try:
        stored = json.loads(config.get("data", {})[names.ROUTE_TABLE_KEY])
        return {cascade["cascade"]: cascade for cascade in stored["cascades"]}
    except (KeyError, TypeError, ValueError):
        return {}


def encoded(route: CascadeRoute) -> Manifest:
    """One Cascade as it stands in the stored table."""
    return json.loads(json.dumps(encode(RouteTable((route,)))))["cascades"][0]  # type: ignore[no-any-return]
