"""What share of answers comes from each tier, compared with what the user wants; shown, not acted upon."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelfleet.api.cascade import permille

TOLERANCE_PERMILLE = 50  # five percentage points
ANSWERS_MIN = 20  # fewer say nothing about a share
STEP_PERMILLE = 20  # a published share follows the measured one only when it moved this far: a quiet status


@dataclass(frozen=True, slots=True)
class OnTarget:
    """Condition ShareOnTarget."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def observed(counts: Mapping[str, float] | None) -> dict[str, int]:
    """Permille by tier; nothing where too few were counted to speak of shares, or a count is none."""
    if not all(0 <= count < math.inf for count in (counts or {}).values()):
        return {}
    whole = {name: round(count) for name, count in (counts or {}).items()}
    return permille(whole) if sum(whole.values()) >= ANSWERS_MIN else {}


def on_target(
    answered: Mapping[str, int], targets: Mapping[str, int], *, short: Sequence[str] = ()
) -> OnTarget:
    """Compare permille with permille.  Targets only of the tiers that have one.

    `short`: tiers that may pass on less than would be needed, whatever their threshold.
    """
    if not targets:
        return OnTarget("Unknown", "NoTargetShare", "No tier sets targetShare")
    if not answered:
        return OnTarget(
            "Unknown", "TooFewAnswers", "Fewer than 20 answers in the last hour, or no fresh metrics"
        )
    off = {name: answered.get(name, 0) - target for name, target in targets.items()}
    above = [name for name, by in off.items() if by > TOLERANCE_PERMILLE]
    below = [name for name, by in off.items() if by < -TOLERANCE_PERMILLE]
    if not above and not below:
        return OnTarget("True", "OnTarget", "Every tier answers its targetShare within 5 percentage points")
    parts = [
        f"{word} targetShare: {', '.join(names)}"
        for word, names in (("above", above), ("below", below))
        if names
    ]
    if short:
        parts.append(
            f"may not pass on as much as that needs: {', '.join(short)} (raise limits.maxEscalations, or let requests "
            "start at later tiers)"
        )
    return OnTarget("False", "OffTarget", "Answers " + "; ".join(parts))


def publish(measured: Mapping[str, int], published: Mapping[str, int]) -> dict[str, int]:
    """What the status shows: what it showed, unless a tier moved far enough to be news."""
    if measured.keys() != published.keys():
        return dict(measured)
    news = any(abs(measured[name] - published[name]) >= STEP_PERMILLE for name in measured)
    return dict(measured if news else published)
