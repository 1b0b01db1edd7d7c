"""How a Cascade stands with its budget: what to say, whether it is exhausted, and what its replicas may cost now."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Literal

from modelfleet.api.budget import Budget, Cost, OnExhausted, Window
from modelfleet.api.meta import rfc3339
from modelfleet.plan.joint import Bound
from modelfleet.plan.spending import Charge, Ledger, owed, share_of, window_of

# Of a month the longest, so that what is said would do in every month.
_LASTS_S: dict[Window, float] = {"Hour": 3600.0, "Day": 86_400.0, "Month": 31 * 86_400.0}
_HOUR_S = 3600.0
# Times the even pace that replicas beyond the least may cost: loads have peaks, and what they leave is spent later.
PACE = 2.0
_PACED_MIN = 0.05  # of the window: what is left at its end is not to be ordered in replicas all at once
_AGAIN = 0.95  # of the limit: below it a budget that was exhausted is not any more
_CALM = 0.9  # likewise, of a forecast
_STEP, _FORECAST_STEP = 0.01, 0.05  # of the limit, that a published number moves by
_ENOUGH = 1.5
_ROUNDED = 1e-6  # of the limit: what is summed up over a month of looks is off by less
_MEANS: dict[OnExhausted, str] = {
    "StopEscalating": "answers are sent as they are and requests start at no external tier",
    "SkipTier": "external tiers are not asked",
    "Reject": "requests are answered 429",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows from a ledger.  `allowed`: dollars an hour that replicas may cost the Cascade now."""

    status: Literal["True", "False", "Unknown"]  # of condition WithinBudget
    reason: str
    message: str
    exhausted: bool
    allowed: float
    limit: float  # dollars
    forecast: float  # dollars at the end of the window
    until_s: float  # its end, Unix time


def stand(
    ledger: Ledger,
    budget: Budget,
    charges: Sequence[Charge],
    *,
    unpriced: Sequence[str] = (),
    shown: str = "",
) -> tuple[Standing, Ledger]:
    """As of the ledger's last entry.  `unpriced`: what has no price; `shown`: reason and message shown last."""
    limit, (_, until_s) = float(budget.max_usd), window_of(budget.window, ledger.at_s)
    left_s = until_s - ledger.at_s
    needed = owed(ledger, charges, _LASTS_S[budget.window])
    feasible = needed <= limit * (1 + _ROUNDED)
    least = owed(ledger, charges, left_s)
    # What has to run is paid first: others may spend what that leaves.  Where it takes more than all, nothing is left.
    committed = ledger.total + (least if feasible else 0.0)
    held = ledger.exhausted_at is not None and limit <= ledger.exhausted_at and committed > _AGAIN * limit
    # As much as there is may be owed: who gives no more than the least replicas cost has given that for answers.
    exhausted = ledger.total >= limit * (1 - _ROUNDED) or committed > limit * (1 + _ROUNDED) or held
    spare = max(0.0, limit - ledger.total - least)
    forecast = max(ledger.total + ledger.per_hour * left_s / _HOUR_S, ledger.total + least)
    standing = Standing(
        status="True",
        reason="Kept",
        message=f"Within {usd(limit)} USD a {budget.window}",
        exhausted=exhausted,
        allowed=(least / left_s + PACE * spare / max(left_s, _PACED_MIN * _LASTS_S[budget.window])) * _HOUR_S,
        limit=limit,
        forecast=forecast,
        until_s=until_s,
    )
    said = _said(standing, budget, needed=needed, feasible=feasible, unpriced=unpriced, shown=shown)
    return said, replace(ledger, exhausted_at=limit if exhausted else None)


def _said(
    now: Standing, budget: Budget, *, needed: float, feasible: bool, unpriced: Sequence[str], shown: str
) -> Standing:
    limit, window = float(budget.max_usd), budget.window
    short = (
        ""
        if feasible
        else f"the least replicas alone cost more: maxUSD would have to be {_enough(needed, shown)}"
    )
    if now.exhausted:
        text = (
            f"All of {usd(limit)} USD is spent, or owed to the least replicas, until {rfc3339(now.until_s)}: "
        )
        text += _MEANS[budget.on_exhausted] + (f"; {short}" if short else "")
        return replace(now, status="False", reason="Exhausted", message=text)
    if unpriced:
        text = f"Nobody tells what these cost, so they are not counted: {', '.join(unpriced)}"
        return replace(now, status="Unknown", reason="PriceUnknown", message=text)
    if short:
        text = f"{usd(limit)} USD a {window} cannot be kept, {short}"
        return replace(now, status="False", reason="Infeasible", message=text)
    calm = _CALM if shown.startswith("ForecastExceeds") else 1.0
    if now.forecast > calm * limit * (1 + _ROUNDED):
        text = f"Going on as in the last hour, {usd(limit)} USD will be spent before the {window} ends"
        return replace(now, reason="ForecastExceeds", message=text)
    return now


def _enough(needed: float, shown: str) -> str:
    """Dollars that would do; those that were said last while they would, and are not by half too many."""
    _, marker, said = shown.rpartition("would have to be ")
    if marker and needed <= _dollars(said) <= _ENOUGH * needed:
        return said
    return usd(float(Decimal(needed).quantize(Decimal("0.01"), rounding=ROUND_CEILING)))


def cost(standing: Standing, ledger: Ledger, budget: Budget, shown: Cost | None) -> Cost:
    """What is published: what was, until it has moved far enough to be news."""
    limit = float(budget.max_usd)
    now = Cost(
        since=rfc3339(ledger.since_s),
        until=rfc3339(standing.until_s),
        spent_usd=usd(ledger.total),
        limit_usd=budget.max_usd,
        forecast_usd=usd(standing.forecast),
        exhausted=standing.exhausted,
    )
    if shown is None or any(
        getattr(now, name) != getattr(shown, name) for name in ("since", "until", "limit_usd", "exhausted")
    ):
        return now
    moved = not abs(ledger.total - _dollars(shown.spent_usd)) < _STEP * limit
    news = not abs(standing.forecast - _dollars(shown.forecast_usd)) < _FORECAST_STEP * limit
    return now if moved or news else shown


@dataclass(frozen=True, slots=True)
class Account:
    """One Cascade's: what it has spent, what it has, and how it stands."""

    ledger: Ledger
    charges: tuple[Charge, ...]
    standing: Standing

    def bound(self, tiers: Sequence[str]) -> Bound:
        """What replicas of these tiers may cost the Cascade; one that is not its own costs it nothing."""
        mine = {one.tier: one.per_hour * share_of(self.ledger, one) for one in self.charges}
        return Bound(tuple(mine.get(tier, 0.0) for tier in tiers), self.standing.allowed)


def _dollars(said: str) -> float:
    """What a status says; NaN, which is near nothing, where somebody wrote something else there."""
    try:
        return float(said)
    except ValueError:
        return math.nan


def usd(dollars: float) -> str:
    """As a decimal string, to a hundredth of a cent."""
    text = f"{dollars:.4f}".rstrip("0").rstrip(".")
    return text or "0"
