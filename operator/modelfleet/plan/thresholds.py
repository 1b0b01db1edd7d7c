"""Where to put the bar of a tier so that answers come from each tier as the user wants: pure, in closed form.

What has to move on from a tier is what reaches it less what it should answer; the bar is the quantile of its scores
below which just that many lie.  What reaches it follows from the entry weights that are decided now and from the bars
before it, not from shares measured over an hour: a shift of the load or of the weights moves the bar with the next
decision.  Validators reject answers whatever their score; those count as moved on already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelfleet.api.judging import OPEN_THRESHOLD
from modelfleet.plan.buckets import Buckets

SCORES_MIN = 50.0  # fewer say nothing about a quantile
_SCORES_MANY = 400.0  # of the last minute; else those of the last ten are taken
_SLACK = (
    0.02  # of the judged answers: a bar that is this near stays, so that tables are not written all the time
)
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One tier, cheapest first.  Shares are parts of all requests."""

    name: str
    target: float | None  # share of the answers that should come from it
    judges: bool  # it has an accept rule
    chosen: bool  # whose threshold is ours to choose
    published: float | None = None  # what routers have been told last
    judged: float | None = None  # answers with a verdict, lately
    scored: float | None = None  # those of them that the score alone decided about
    escalated: float | None = None  # those that were not sent
    scores: Buckets | None = None  # lately
    scores_now: Buckets | None = None  # of the last minute


@dataclass(frozen=True, slots=True)
class Threshold:
    """`value`: the lowest score to accept.  `short`: more should move on than may, however high the bar."""

    value: float
    short: bool


def choose(bars: Sequence[Bar], entries: Mapping[str, int], *, escalations_max: int) -> dict[str, Threshold]:
    """The thresholds that are ours to choose.  `entries`: permille of the requests that start at each tier."""
    chosen: dict[str, Threshold] = {}
    starts = [entries.get(bar.name, 0) / 1000 for bar in bars]
    came = [0.0] * (escalations_max + 1)  # share of all requests, by how often they may still move on
    for at, bar in enumerate(bars[:-1]):
        came[escalations_max] += starts[at]
        may = sum(came[1:])
        out = 0.0
        if bar.chosen:
            wish = _to_move_on(bars, starts, at, came=sum(came))
            out = min(max(0.0, wish), may)
            part = out / may if may > 0 else 0.0
            chosen[bar.name] = Threshold(_value(bar, part), short=wish > may + _SLACK)
        elif bar.judges and bar.judged:
            out = may * min(1.0, (bar.escalated or 0.0) / bar.judged)
        part = out / may if may > 0 else 0.0
        came = [*(share * part for share in came[1:]), 0.0]
    return chosen


def _to_move_on(bars: Sequence[Bar], starts: Sequence[float], at: int, *, came: float) -> float:
    target = bars[at].target
    if target is not None:
        return came - target
    # Later tiers that say nothing are taken to answer what starts there, and no more.
    later = zip(bars[at + 1 :], starts[at + 1 :], strict=True)
    return sum(bar.target - start for bar, start in later if bar.target is not None)


def _value(bar: Bar, part: float) -> float:
    """The bar below which `part` of the judged answers lie."""
    scores = _enough(bar)
    if scores is None:
        return OPEN_THRESHOLD if bar.published is None else bar.published
    below = _by_score(bar, part)
    if bar.published is not None and _near(scores, bar.published, below):
        return bar.published
    if below <= 0:
        return OPEN_THRESHOLD
    found = scores.quantile(below)
    return OPEN_THRESHOLD if found is None else round(min(0.0, found), _DIGITS)


def _near(scores: Buckets, published: float, below: float) -> bool:
    within = scores.within(published)
    return within is not None and abs(within - below) <= _SLACK


def _by_score(bar: Bar, part: float) -> float:
    """What of `part` the score has to send on, where validators send some on whatever the bar."""
    if not bar.judged or bar.scored is None:
        return part
    rejected = 1.0 - min(1.0, bar.scored / bar.judged)
    return min(1.0, max(0.0, part - rejected) / (1.0 - rejected)) if rejected < 1 else 0.0


def _enough(bar: Bar) -> Buckets | None:
    if bar.scores_now is not None and bar.scores_now.count >= _SCORES_MANY:
        return bar.scores_now
    return bar.scores if bar.scores is not None and bar.scores.count >= SCORES_MIN else None
