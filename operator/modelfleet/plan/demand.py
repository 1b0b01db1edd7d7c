"""What a group of Cascades asks of its tiers together: objectives, arrivals, and who answers which part of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from modelfleet.api.cascade import Cascade, initial_weights, unpriced
from modelfleet.api.meta import seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.plan.load import CascadeLoad
from modelfleet.plan.look import planned_shares
from modelfleet.plan.sizing import Objectives
from modelfleet.plan.snapshot import Name

_NO_GOAL_S = 86_400.0  # longer than any request may take
_PERCENT = 100


def goals(cascades: Iterable[Cascade]) -> Objectives:
    """The strictest objectives of all; one that nobody has is a day."""
    levels = [one.spec.slo for one in cascades if one.spec.slo is not None]
    ttft = [seconds(level.ttft_p95) for level in levels if level.ttft_p95 is not None]
    itl = [seconds(level.itl_p95) for level in levels if level.itl_p95 is not None]
    return Objectives(min(ttft, default=_NO_GOAL_S), min(itl, default=_NO_GOAL_S))


def given(goal_s: float) -> float | None:
    """The objective, where somebody has it."""
    return None if goal_s >= _NO_GOAL_S else goal_s


def added(counts: Sequence[Sequence[float]]) -> list[float]:
    """Counts of the same intervals, the newest last; who counts for a shorter time had nothing before."""
    longest = max(map(len, counts), default=0)
    padded = [[0.0] * (longest - len(one)) + list(one) for one in counts]
    return [sum(column) for column in zip(*padded, strict=True)]


def past_rates(counts: Sequence[float], *, interval_s: float, look_s: float) -> tuple[float, ...]:
    """Requests per second at past looks, for a planner that has seen none; the newest interval is the present one's."""
    past = counts[:-1]
    looks = int(len(past) * interval_s / look_s)
    return tuple(past[int(look * look_s / interval_s)] / interval_s for look in range(looks))


def shares(
    cascades: Mapping[Name, Cascade], loads: Mapping[Name, CascadeLoad], tiers: Mapping[Name, ModelTier]
) -> dict[Name, float]:
    """What part of all requests of these Cascades each tier has to answer."""
    rates = {name: sum(load.counts) / max(1, len(load.counts)) for name, load in loads.items()}
    total = sum(rates.values())
    found: dict[Name, float] = defaultdict(float)
    for name, cascade in cascades.items():
        part = rates[name] / total if total else 1 / len(cascades)
        for tier, share in _shares_of(name, cascade, loads[name], tiers).items():
            found[tier] += part * share
    return dict(found)


def _shares_of(
    name: Name, cascade: Cascade, load: CascadeLoad, tiers: Mapping[Name, ModelTier]
) -> dict[Name, float]:
    """The same of one Cascade, over those of its tiers that requests can be sent to."""
    usable = [
        (step, where)
        for step in cascade.spec.tiers
        if (tier := tiers.get(where := Name(name.namespace, step.tier_ref.name))) is not None
        and not tier.spec.suspend
        and not unpriced(cascade.spec, tier)
    ]
    if not usable:
        return {}
    entering = initial_weights(cascade.spec)
    whole = sum(entering[step.name] for step, _ in usable)
    initial = [
        entering[step.name] / whole if whole else float(at == 0) for at, (step, _) in enumerate(usable)
    ]
    targets = [None if step.target_share is None else step.target_share / _PERCENT for step, _ in usable]
    escalated = [_escalated(load, step.name) for step, _ in usable[:-1]]
    found: dict[Name, float] = defaultdict(float)
    for (_, where), share in zip(
        usable, planned_shares(initial, targets=targets, escalated=escalated), strict=True
    ):
        found[where] += share
    return found


def _escalated(load: CascadeLoad, step: str) -> float:
    """What part of a step's answers went on to the next one."""
    seen = load.steps.get(step)
    return min(1.0, seen.escalated / seen.judged) if seen and seen.judged and seen.escalated else 0.0
