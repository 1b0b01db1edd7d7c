"""What a simulated fleet shows, as a metrics store would know it of a real one: translation, and no decision."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import (
    INTERVAL_S,
    MEANS_S,
    RATE_S,
    Answers,
    CascadeLoad,
    FleetLoad,
    StepLoad,
    TierLoad,
)
from modelfleet.plan.snapshot import Name
from modelfleet.sim.meter import ITL_BOUNDS_S, SCORE_BOUNDS, TTFT_BOUNDS_S, Slot, Window
from modelfleet.sim.policy import Seen, TierSeen


def fleet_load(seen: Seen, *, cascade: Name, tiers: Mapping[str, Name], since_s: float) -> FleetLoad:
    """`tiers`: ModelTiers by step of the Cascade; `since_s`: since the look before."""
    answered = dict(zip((tier.tier.name for tier in seen.tiers), map(float, seen.answered), strict=False))
    return FleetLoad(
        tiers={tiers[tier.tier.name]: _tier(tier, since_s) for tier in seen.tiers},
        started={},
        answered={cascade: answered} if answered else {},
        cascades={cascade: _cascade(seen, since_s)},
        since_s=since_s,
    )


def _tier(tier: TierSeen, since_s: float) -> TierLoad:
    minute, lately = tier.window(RATE_S), tier.window(MEANS_S)
    prompt = lately.prompt_tokens_mean
    return TierLoad(
        in_flight=tier.in_flight,
        age_s=tier.lag_s,
        routers=1,
        rate_rps=minute.rate_rps,
        ttft=_ttft(minute.slots),
        itl=_itl(minute.slots),
        answers=_answers(tier.window(since_s)),
        prompt_tokens=prompt,
        output_tokens=lately.output_tokens_mean,
        cached_share=lately.cached_tokens_mean / prompt if prompt else None,
        answer_s=lately.answer_mean_s,
        waiting_router=tier.router_queue,
        waiting_engines=tier.engine_queue,
        kv_used=max(tier.kv, default=None),
        engines=tier.ready,
    )


def _cascade(seen: Seen, since_s: float) -> CascadeLoad:
    whole = seen.whole
    assert whole is not None, "the World shows the cascade as a whole"
    lag_s = seen.tiers[0].lag_s
    past = whole.window(MEANS_S, back_s=lag_s)
    return CascadeLoad(
        age_s=lag_s,
        routers=1,
        arrived=seen.entered,
        counts=_intervals([slot.arrivals for slot in past.slots], round(INTERVAL_S / whole.scrape_s)),
        answers=_answers(whole.window(since_s, back_s=lag_s)),
        failed=seen.refused,
        steps={tier.tier.name: _step(tier) for tier in seen.tiers},
    )


def _step(tier: TierSeen) -> StepLoad:
    lately, now = tier.window(MEANS_S), tier.window(RATE_S)
    scores = _scores(lately.slots)
    if scores is None:
        return StepLoad()
    escalated = float(sum(slot.escalated for slot in lately.slots))
    return StepLoad(scores.count, escalated, scores.count, scores, _scores(now.slots))


def _intervals(counts: Sequence[float], each: int) -> tuple[float, ...]:
    """Counts of scrapes as counts of longer intervals, whole ones, the newest last."""
    each = max(1, each)
    whole = counts[len(counts) % each :]
    return tuple(sum(whole[at : at + each]) for at in range(0, len(whole), each))


def _answers(window: Window) -> Answers:
    return Answers(window.answers, _ttft(window.slots), _itl(window.slots))


def _ttft(slots: Sequence[Slot]) -> Buckets:
    return _buckets([slot.ttft for slot in slots], TTFT_BOUNDS_S)


def _itl(slots: Sequence[Slot]) -> Buckets:
    return _buckets([slot.itl for slot in slots], ITL_BOUNDS_S, total=sum(slot.itl_sum_s for slot in slots))


def _scores(slots: Sequence[Slot]) -> Buckets | None:
    rows = [slot.scores for slot in slots if slot.scores is not None]
    return _buckets(rows, SCORE_BOUNDS) if rows else None


def _buckets(
    rows: Sequence[Sequence[float]], bounds: Sequence[float], *, total: float | None = None
) -> Buckets:
    columns = zip(*rows, strict=True) if rows else ((0.0,) for _ in range(len(bounds) + 1))
    counts = tuple(accumulate(sum(column) for column in columns))
    return Buckets((*bounds, math.inf), tuple(map(float, counts)), total)
