"""From a verdict about weights to the part of a Cascade's status that the capacity loop owns."""

from collections.abc import Mapping, Sequence

from modelfleet.api.budget import Cost
from modelfleet.api.cascade import Cascade, owed_permille
from modelfleet.api.cascade_status import LastDecision
from modelfleet.api.meta import Manifest, rfc3339
from modelfleet.control.capacity.status import Judged, condition
from modelfleet.diff.conditions import MESSAGE_CHARS_MAX
from modelfleet.plan import balance as balances
from modelfleet.plan import shares
from modelfleet.plan.publish import Carries, Law
from modelfleet.plan.service_level import WithinSlo
from modelfleet.plan.thresholds import Threshold
from modelfleet.plan.weights import WeightsVerdict
from modelfleet.plan.within_budget import Account, cost

_PERMILLE = 10  # per percent


def cascade_status(
    cascade: Cascade,
    verdict: WeightsVerdict,
    *,
    before: Mapping[str, int] | None,
    started: Mapping[str, float] | None,
    answered: Mapping[str, float] | None,
    now_s: float,
    within: WithinSlo | None = None,
    law: Law | None = None,
    thresholds: Mapping[str, Threshold] = {},
    whole_hour: bool = True,
    account: Account | None = None,
) -> Manifest:
    """Of a Cascade: weights, thresholds, shares, balance, lastDecision, ShareOnTarget and, with an slo, WithinSLO.

    `started` and `answered` count requests by tier, `within` and `law` come from a plan; None means that nobody could
    be asked, or nothing was planned in this pass, and what was published stays.  `whole_hour`: see plan/balance.py.
    """
    order = [tier.name for tier in cascade.spec.tiers]
    short = [name for name in order if name in thresholds and thresholds[name].short]
    shown = {tier.name: tier for tier in cascade.status.tiers}
    answered_shares = _shares(answered, {name: tier.answered_share for name, tier in shown.items()})
    targets = {t.name: t.target_share * _PERMILLE for t in cascade.spec.tiers if t.target_share is not None}
    carries = shown_law(cascade) if law is None else law
    of_each: dict[str, Mapping[str, int]] = {
        "weight": verdict.weights,
        "startedShare": _shares(started, {name: tier.started_share for name, tier in shown.items()}),
        "answeredShare": answered_shares,
        "targetShare": targets,
        "carriesPerHour": {name: one.per_hour for name, one in carries.items()},
        "underWay": {name: one.under_way for name, one in carries.items()},
    }
    on_target = shares.on_target(answered_shares, targets, short=short)
    judged = [Judged("ShareOnTarget", on_target.status, on_target.reason, on_target.message)]
    if cascade.spec.slo is not None:
        judged.append(within_slo(cascade, within))
    if cascade.spec.budget is not None:
        judged.append(within_budget(cascade, account))
    balance = balances.published(
        answered,
        last=order[-1],
        owed_permille=owed_permille(cascade),
        shown=cascade.status.balance,
        whole=whole_hour,
    )
    told = {
        "lastDecision": _last_decision(cascade, verdict, before=before, now_s=now_s),
        "balance": balance,
        "cost": _cost(cascade, account),
    }
    return {
        "tiers": [_step(name, of_each, thresholds.get(name)) for name in order],
        "weights": " ".join(f"{name}={verdict.weights[name]}" for name in order),
        "conditions": [condition(cascade, one, now_s) for one in judged],
    } | {name: one.model_dump(by_alias=True) for name, one in told.items() if one is not None}


def _step(name: str, of_each: Mapping[str, Mapping[str, int]], threshold: Threshold | None) -> Manifest:
    """One tier as it is shown: of each number what is known of it."""
    numbers = {field: values[name] for field, values in of_each.items() if name in values}
    return {"name": name, **numbers} | ({"threshold": f"{threshold.value:g}"} if threshold else {})


def _last_decision(
    cascade: Cascade, verdict: WeightsVerdict, *, before: Mapping[str, int] | None, now_s: float
) -> LastDecision | None:
    """The last change of weights: this one, or what was shown."""
    if before is not None and dict(before) == dict(verdict.weights):
        return cascade.status.last_decision
    said = moves([tier.name for tier in cascade.spec.tiers], before, verdict.weights)
    return LastDecision(time=rfc3339(now_s), reason=verdict.reason, message=f"{verdict.message} ({said})")


def shown_law(cascade: Cascade) -> Law:
    """What was published last."""
    return {
        tier.name: Carries(tier.carries_per_hour, tier.under_way)
        for tier in cascade.status.tiers
        if tier.carries_per_hour is not None and tier.under_way is not None
    }


def within_slo(cascade: Cascade, found: WithinSlo | None) -> Judged:
    """Whether the objectives are kept; what was shown before where nothing was planned."""
    shown = next((c for c in cascade.status.conditions if c.type == "WithinSLO"), None)
    if found is not None:
        return Judged("WithinSLO", found.status, found.reason, found.message[:MESSAGE_CHARS_MAX])
    if shown is not None:
        return Judged(shown.type, shown.status, shown.reason, shown.message)
    return Judged("WithinSLO", "Unknown", "TooFewAnswers", "Fewer than 20 answers in the last hour")


def within_budget(cascade: Cascade, account: Account | None) -> Judged:
    """Whether the money lasts; what was shown before where nothing was counted."""
    shown = next((c for c in cascade.status.conditions if c.type == "WithinBudget"), None)
    if account is not None:
        now = account.standing
        return Judged("WithinBudget", now.status, now.reason, now.message[:MESSAGE_CHARS_MAX])
    if shown is not None:
        return Judged(shown.type, shown.status, shown.reason, shown.message)
    return Judged("WithinBudget", "Unknown", "NotCounted", "What was spent cannot be read yet")


def _cost(cascade: Cascade, account: Account | None) -> Cost | None:
    budget, shown = cascade.spec.budget, cascade.status.cost
    if budget is None or account is None:
        return shown if budget is not None else None
    return cost(account.standing, account.ledger, budget, shown)


def moves(order: Sequence[str], before: Mapping[str, int] | None, after: Mapping[str, int]) -> str:
    """Each weight that changed, in words."""
    if before is None:
        return ", ".join(f"{name} {after[name]}" for name in order)
    return ", ".join(
        f"{name} {before.get(name, 0)} -> {after[name]}"
        for name in order
        if before.get(name, 0) != after[name]
    )


def _shares(counts: Mapping[str, float] | None, published: Mapping[str, int | None]) -> dict[str, int]:
    known = {name: share for name, share in published.items() if share is not None}
    return known if counts is None else shares.publish(shares.observed(counts), known)
