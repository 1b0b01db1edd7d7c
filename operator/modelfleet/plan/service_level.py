"""Whether a Cascade keeps its objectives, and what would make it possible where it cannot."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from modelfleet.api.cascade import Cascade
from modelfleet.plan import floor
from modelfleet.plan.planner import Look, Plan, State, TierLook, TierPlan

GOAL = 0.95  # of the answers of the last hour
ANSWERS_MIN = 20  # fewer say nothing
_PERCENT = 100
_RECENT = 4  # counts that tell the present rate
_ENOUGH = 1.5


@dataclass(frozen=True, slots=True)
class WithinSlo:
    """Condition WithinSLO."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def attained(state: State) -> float | None:
    """Share of the answers of the last hour that kept the objectives; None: too few to tell."""
    answers = sum(count for count, _ in state.answered)
    return sum(good for _, good in state.answered) / answers if answers >= ANSWERS_MIN else None


def judge(look: Look, plan: Plan, state: State, *, cascade: Cascade | None = None) -> WithinSlo:
    """What to say of it.  `cascade`: with what its own bounds forbid."""
    conditions = cascade.status.conditions if cascade is not None else []
    shown = next((each.message for each in conditions if each.type == "WithinSLO"), "")
    wrong = [
        text
        for tier, one in zip(look.tiers, plan.tiers, strict=True)
        if (text := _short(look, plan, tier, one, shown))
    ]
    if cascade is not None and (text := out_of_reach(cascade)):
        wrong.append(text)
    if wrong:
        return WithinSlo("False", "Infeasible", "; ".join(wrong))
    share = attained(state)
    if share is None:
        return WithinSlo("Unknown", "TooFewAnswers", "Fewer than 20 answers in the last hour")
    if share < GOAL and any(one.bound == "Budget" for one in plan.tiers):
        text = "Fewer than 95 % of the answers of the last hour kept spec.slo: spec.budget pays for no more replicas"
        return WithinSlo("False", "BudgetBound", text)
    if share < GOAL:
        return WithinSlo("False", "Missed", "Fewer than 95 % of the answers of the last hour kept spec.slo")
    return WithinSlo("True", "Kept", "95 % of the answers of the last hour and more kept spec.slo")


def out_of_reach(cascade: Cascade) -> str | None:
    """Why entries can never give the last tier its targetShare, with what they can; None where they can.

    Where answers are judged, it gets more than enters there.
    """
    *before, last = cascade.spec.tiers
    target = last.target_share
    if target is None or not before or any(step.accept is not None for step in before):
        return None
    most = last.weight.max if last.weight else _PERCENT
    taken = sum(step.weight.min for step in before if step.weight)
    reach = min(most, _PERCENT - taken)
    if target <= reach:
        return None
    return f"targetShare {target} of {last.name} is out of reach: weight.min and weight.max let it have {reach} at most"


def _short(look: Look, plan: Plan, tier: TierLook, tier_plan: TierPlan, shown: str) -> str | None:
    """What the tier would need to carry its part; None where it can.  `shown`: what was said last."""
    if strict := floor.too_strict(tier.name, tier.engine, tier.lengths, look.goals):
        return strict
    others_carry_it = plan.feasible and plan.peak_rps > 0
    if others_carry_it or not tier_plan.carries_rps or tier.replicas_max <= tier.replicas_min:
        return None
    needed = math.ceil(_owed_rps(look, plan, tier) / tier_plan.carries_rps)
    if needed <= tier.replicas_max:
        return None
    # The load moves a little with every look: a number stays while it is enough, and not by half too large.
    said = re.search(rf"(?:^|; ){re.escape(tier.name)} would need maxReplicas (\d+)(?:;|$)", shown)
    if said is not None and needed <= int(said[1]) <= _ENOUGH * needed:
        needed = int(said[1])
    return f"{tier.name} would need maxReplicas {needed}"


def _owed_rps(look: Look, plan: Plan, tier: TierLook) -> float:
    """Its part of what lies ahead."""
    recent = look.counts[-_RECENT:]
    now_rps = sum(recent) / max(1, len(recent)) / look.interval_s
    ours = sum(one.share for one in look.tiers)
    return max(now_rps * tier.share, plan.peak_rps * tier.share / ours if ours else 0.0)
