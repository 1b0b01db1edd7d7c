"""From what is known of tiers to the planner's look at them: the simulator and the operator both come this way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelfleet.plan.engine import Engine
from modelfleet.plan.planner import TierLook
from modelfleet.plan.sizing import Lengths

_STARTS_MIN = 3  # cold starts that tell more than what was said beforehand
_LATE = 0.8  # quantile of cold starts that is planned with
_STUCK = 2.0  # times the lead, or the slowest start: a pod that starts for longer is no supply any more


@dataclass(frozen=True, slots=True)
class TierFacts:
    """One tier as measured and as told.  None: not known, or nothing happened."""

    name: str
    engine: Engine | None
    slots: int
    price: float  # of a replica, in any unit that all tiers share
    share: float  # planned part of all entries, 0 to 1
    wanted: int
    ready: int
    starting_s: Sequence[float]  # for how long each pod that is not ready has been starting
    replicas_min: int
    replicas_max: int
    cold_starts_s: Sequence[float]  # lately
    cold_start_s: float  # as told
    rate_rps: float = 0.0
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    cached_tokens: float = 0.0  # of the prompt's
    answer_s: float | None = None
    itl_s: float | None = None
    waiting: float = 0.0
    kv: Sequence[float] = ()  # used part of the memory, by replica
    down_s: float | None = None
    answers: float = 0.0  # since the look before
    good: float = 0.0  # of those, within the objective between tokens


def tier_looks(tiers: Sequence[TierFacts], *, look_s: float) -> list[TierLook]:
    """The tiers in the planner's words.

    What a tier was asked says how long the requests of the others are, too, where these have answered nothing lately.
    """
    looks = [_tier_look(tier, look_s=look_s) for tier in tiers]
    known = next((look.lengths for look in looks if look.lengths is not None), None)
    return [look if look.lengths is not None else replace(look, lengths=known) for look in looks]


def lead_s(tier: TierFacts) -> float:
    """Seconds from ordering a replica to its first request."""
    starts = sorted(tier.cold_starts_s)
    return starts[int(_LATE * len(starts))] if len(starts) >= _STARTS_MIN else tier.cold_start_s


def planned_shares(
    initial: Sequence[float], *, targets: Sequence[float | None], escalated: Sequence[float] = ()
) -> list[float]:
    """What part of the entries of a Cascade each tier has to answer, cheapest first.

    `initial`: entry shares as the user set them, summing to 1; `targets`: shares of the answers as the user wants
    them, where given.  The last tier owes its target, else its entries; the others share the rest as they were set
    to.  `escalated`: part of each tier's answers that go on to the next one: they are asked of it besides.
    """
    last = targets[-1]
    floor = initial[-1] if last is None else last
    wanted = [given if given is not None else share for given, share in zip(targets, initial, strict=True)]
    before = sum(wanted[:-1])
    if len(wanted) == 1:
        return [1.0]
    shares = [
        one * (1 - floor) / before if before else (1 - floor) / (len(wanted) - 1) for one in wanted[:-1]
    ]
    entering = [*shares, floor]
    if not any(escalated):
        return entering
    # Where answers are judged, the last tier's share of them comes from the tiers before it.
    asked, passed = [], 0.0
    for share, part in zip(initial, (*escalated, 0.0), strict=False):
        asked.append(share + passed)
        passed = asked[-1] * part
    return [*asked[:-1], max(asked[-1], floor)]


def _tier_look(tier: TierFacts, *, look_s: float) -> TierLook:
    lead = lead_s(tier)
    # One slow start is no lead to plan with, yet the next one may well be as slow.
    slowest = max(lead, look_s, *tier.cold_starts_s)
    stuck = sum(seconds > _STUCK * slowest for seconds in tier.starting_s)
    prompt, output = tier.prompt_tokens, tier.output_tokens
    return TierLook(
        name=tier.name,
        engine=tier.engine,
        price=tier.price,
        lead_s=round(lead / look_s) * look_s if math.isfinite(lead) else lead,
        share=tier.share,
        replicas=tier.wanted,
        ready=tier.ready,
        starting=len(tier.starting_s) - stuck,
        stuck=stuck,
        replicas_min=tier.replicas_min,
        replicas_max=tier.replicas_max,
        rate_rps=tier.rate_rps,
        lengths=None if prompt is None or output is None else Lengths(prompt, output, tier.cached_tokens),
        itl_s=tier.itl_s,
        waiting=tier.waiting,
        kv=max(tier.kv, default=0.0),
        slots=tier.slots,
        answer_s=tier.answer_s,
        down_s=tier.down_s,
        answers=tier.answers,
        good=tier.good,
    )
