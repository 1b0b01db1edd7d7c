"""How much of its slots a tier may fill that no profile describes: learned from the objectives that it keeps or misses.

`sizing.by_slots` knows no objectives: an engine whose answers come too slowly at 70 % of its slots, or long before,
would miss them for ever.  So where answers miss while nothing waits and nothing starts, the tier is sized to have
less under way than it had then.  Each cut is judged by the answers of the replicas that come of it.  What is kept
under load earns a little back.  What waits tells of a burst, and excuses; but not soon after the tier has shrunk, when
it tells that it should not have.

A tier that misses as much with an eighth of what it had is not slow for its load.  It is given back what was cut, and
left alone for hours: replicas that help nobody must not stay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from modelfleet.plan.sizing import Carried, by_slots

LEAST = 0.02
_CUT_LEAST, _CUT_MOST = 0.05, 0.4
_CUT_ALL = 0.3  # part of the answers that misses, from where on the cut is as large as can be
_ANSWERS_MIN = 30.0  # that tell something
_DEVIATIONS = 2.0
_FORGET_S = 600.0  # of what was counted
_EARN_PER_HOUR = 0.2
_IDLE_EARN_PER_HOUR = 0.005  # an engine may have changed while nobody asked much of it
_TRIED = 0.6  # of what it is sized for: what is kept with less earns nothing
_FUTILE_LOAD, _FUTILE_LOAD_AT_MOST, _FUTILE_MISSED = 0.125, 0.5, 0.5
_RESTS_S = 6 * 3600.0
_SHRUNK_S = 600.0


@dataclass(frozen=True, slots=True)
class Fill:
    """Of one tier.  `factor`: of what its slots alone would let it carry; the rest is evidence."""

    factor: float = 1.0
    replicas: int = 0  # that the evidence is of
    shrunk_s: float = 0.0  # for so long they are fewer than before
    answers: float = 0.0
    missed: float = 0.0
    began_load: float = 0.0  # when it was cut first, and what part missed then; 0: it was not
    began_missed: float = 0.0
    rests_s: float = 0.0  # in which nothing is learned: it was of no use

    def after(
        self, answers: float, *, missed: float, load: float, goal: float, seconds: float, at_most: bool
    ) -> "Fill":
        """With the answers of one look, in which nothing waited or started, of the same replicas as the look before.

        `load`: under way at a replica, over what its slots alone would let it have; `goal`: part that is to be good;
        `at_most`: there are as many replicas as may be.
        """
        if self.rests_s > 0:
            return replace(self, rests_s=max(0.0, self.rests_s - seconds))
        keep = max(0.0, 1 - seconds / _FORGET_S)
        now = replace(self, answers=self.answers * keep + answers, missed=self.missed * keep + missed)
        expected = (1 - goal) * now.answers
        if now.answers < _ANSWERS_MIN or load <= 0:
            return now.earned(_IDLE_EARN_PER_HOUR, seconds)
        if now.missed <= expected + _DEVIATIONS * math.sqrt(expected) + 1:
            kept = now.missed <= expected
            tried = load >= _TRIED * self.factor
            return now.earned(_EARN_PER_HOUR if tried else _IDLE_EARN_PER_HOUR, seconds) if kept else now
        share = now.missed / now.answers
        enough = _FUTILE_LOAD_AT_MOST if at_most else _FUTILE_LOAD
        if load <= enough * self.began_load and share >= _FUTILE_MISSED * self.began_missed:
            return Fill(replicas=self.replicas, rests_s=_RESTS_S)
        if self.factor < load:  # what it was cut to is not reached yet
            return now
        cut = max(_CUT_LEAST, _CUT_MOST * min(1.0, share / _CUT_ALL))
        factor = max(LEAST, load * (1 - cut))
        first = self.began_load == 0
        return Fill(
            factor,
            self.replicas,
            self.shrunk_s,
            began_load=load if first else self.began_load,
            began_missed=share if first else self.began_missed,
        )

    def earned(self, per_hour: float, seconds: float) -> "Fill":
        """With a little back, for what was kept."""
        factor = self.factor * (1 + per_hour * seconds / 3600.0)
        # Once it keeps its objectives, whatever makes it miss them later is another story.
        return replace(self, factor=min(1.0, factor), began_load=0.0, began_missed=0.0)


class Tier(Protocol):
    """What of a tier's look this takes."""

    @property
    def engine(self) -> object | None: ...
    @property
    def slots(self) -> int: ...
    @property
    def answer_s(self) -> float | None: ...
    @property
    def ready(self) -> int: ...
    @property
    def starting(self) -> int: ...
    @property
    def replicas(self) -> int: ...
    @property
    def replicas_max(self) -> int: ...
    @property
    def waiting(self) -> float: ...
    @property
    def rate_rps(self) -> float: ...
    @property
    def answers(self) -> float: ...
    @property
    def good(self) -> float: ...


def seen(tiers: Sequence[Tier], known: Sequence[Fill], *, goal: float, seconds: float) -> tuple[Fill, ...]:
    """What one look adds.  `known`: empty, or of the same tiers."""
    fills = known or tuple(Fill() for _ in tiers)
    return tuple(
        _seen(tier, fill, goal=goal, seconds=seconds) for tier, fill in zip(tiers, fills, strict=True)
    )


def carried(tier: Tier, fill: Fill) -> Carried:
    """What one replica carries; `SLO` is what bounds it where it has shown to keep the objectives only with less."""
    whole = by_slots(tier.slots, tier.answer_s)
    if fill.factor >= 1 or not whole.known:
        return whole
    return Carried(whole.rate_rps * fill.factor, whole.under_way * fill.factor, "SLO")


def _seen(tier: Tier, fill: Fill, *, goal: float, seconds: float) -> Fill:
    whole = by_slots(tier.slots, tier.answer_s)
    if tier.engine is not None or not whole.known:
        return fill
    shrunk_s = max(0.0, fill.shrunk_s - seconds) if tier.replicas >= fill.replicas else _SHRUNK_S
    # What comes, goes or waits makes an answer slow for another reason.
    excused = tier.ready != tier.replicas or tier.starting or (tier.waiting > tier.ready and not shrunk_s)
    if excused or not tier.ready or tier.replicas != fill.replicas:
        return replace(fill, replicas=tier.replicas, shrunk_s=shrunk_s, answers=0.0, missed=0.0)
    return replace(fill, shrunk_s=shrunk_s).after(
        tier.answers,
        missed=tier.answers - tier.good,
        load=tier.rate_rps / tier.ready / whole.rate_rps,
        goal=goal,
        seconds=seconds,
        at_most=tier.replicas >= tier.replicas_max,
    )
