"""What a Cascade has spent of its budget: a ledger that is written forward, and never back, from look to look.

Replicas of ours cost for every hour that they exist; one that several Cascades share costs each the part of its
requests.  Tokens cost what the routers have counted.  A router's counter begins at zero with its process, so the ledger
marks for each process where its counters stood: whoever goes on from these marks, after whatever pause, counts what came
since, once.  A pause that a window ended in is divided by time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from modelfleet.api.budget import Window

_HOUR_S = 3600.0
_LATELY_S = 3600.0  # over which rates and shares are taken
# A process is remembered until all have been heard for so long, and it was not among them.  One that is not known and
# began before that might have been forgotten, so what it has counted may stand in the ledger already.  Half of it is
# for clocks that differ.
KEEP_S = 600.0
_NEW_S = KEEP_S / 2
# So far ahead was a clock that was wrong: what was written by it would hold until that day comes.
_AHEAD_S = 3600.0
_CLOCKS_S = 60.0  # by which one that began with the ledger may seem to be older
_TIERS_MAX, _OTHERS = 32, "(others)"
MARKS_MAX = 300  # routers of a namespace, those included that went within KEEP_S


@dataclass(frozen=True, slots=True)
class Told:
    """What one router process has counted since it began, at `began_s` (Unix time), by ModelTier."""

    began_s: float
    dollars: Mapping[str, float]  # of tokens, by requests of this Cascade
    own: Mapping[str, float]  # requests that this Cascade sent there, attempts counted each
    all: Mapping[str, float]  # the same of all Cascades


@dataclass(frozen=True, slots=True)
class Counted:
    """All that one router process has counted, by Cascade and then ModelTier.  `began_s`: of the process, Unix time."""

    began_s: float
    dollars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sent: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    all: Mapping[str, float] = field(default_factory=dict)  # what all Cascades sent

    @classmethod
    def of(
        cls, began_s: float, dollars: Mapping[tuple[str, str], float], sent: Mapping[tuple[str, str], float]
    ) -> "Counted":
        """Of counts by Cascade and ModelTier."""
        totals: dict[str, float] = {}
        for (_, tier), count in sent.items():
            totals[tier] = totals.get(tier, 0.0) + count
        return cls(began_s, _nested(dollars), _nested(sent), totals)

    def told(self, cascade: str, charges: Sequence["Charge"]) -> Told:
        """What of it one Cascade's ledger is about."""
        tokens = [one.tier for one in charges if one.by_token]
        shared = [one.tier for one in charges if one.users > 1]
        return Told(
            self.began_s,
            _some(self.dollars.get(cascade, {}), tokens),
            _some(self.sent.get(cascade, {}), shared),
            _some(self.all, shared),
        )


def _nested(counts: Mapping[tuple[str, str], float]) -> Mapping[str, Mapping[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for (cascade, tier), count in counts.items():
        found.setdefault(cascade, {})[tier] = count
    return found


def _some(counts: Mapping[str, float], tiers: Sequence[str]) -> dict[str, float]:
    return {tier: counts[tier] for tier in tiers if counts.get(tier)}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a process had told when it was heard last, at `seen_s`."""

    seen_s: float
    told: Told


@dataclass(frozen=True, slots=True)
class Ledger:
    """One Cascade's.  `at_s`: until when it is written; 0: nothing is.  All times are Unix time."""

    window: Window = "Day"
    start_s: float = 0.0  # of the window
    since_s: float = 0.0  # of what is counted in it
    began_s: float = 0.0  # of the ledger
    at_s: float = 0.0
    heard_s: float = 0.0  # when all routers were heard last
    spent: Mapping[str, float] = field(default_factory=dict)  # dollars by ModelTier
    per_hour: float = 0.0  # dollars, lately
    watched_s: float = 0.0  # of "lately"
    sent: Mapping[str, tuple[float, float]] = field(
        default_factory=dict
    )  # own requests and all, lately, by ModelTier
    marks: Mapping[str, Mark] = field(default_factory=dict)  # by router pod
    exhausted_at: float | None = None  # the limit that was reached; None: none was

    @property
    def total(self) -> float:
        """Dollars spent in the window."""
        return math.fsum(self.spent.values())


@dataclass(frozen=True, slots=True)
class Charge:
    """One tier of the Cascade as it is now."""

    tier: str
    per_hour: float  # dollars of one replica; 0 where it costs by the token, and where nobody tells a price
    replicas: int  # that exist
    least: int  # that have to run in any case
    users: int = 1  # Cascades that send requests there
    by_token: bool = False  # it costs what routers count, and nothing by the hour


_TEXT: TypeAdapter[Ledger] = TypeAdapter(Ledger)


def encode(ledger: Ledger) -> str:
    """As JSON; at most some 150 KB, with MARKS_MAX routers and eight tiers."""
    return _TEXT.dump_json(ledger).decode()


def decode(text: str) -> Ledger:
    """What `encode` made.  Raises ValueError for anything else."""
    try:
        return _TEXT.validate_json(text)
    except ValidationError as err:
        first = err.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from err


def window_of(kind: Window, now_s: float) -> tuple[float, float]:
    """Begin and end of the hour, day or month (UTC) that this moment is in."""
    now = datetime.fromtimestamp(now_s, UTC)
    if kind == "Hour":
        start = math.floor(now_s / _HOUR_S) * _HOUR_S
        return start, start + _HOUR_S
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "Day":
        return day.timestamp(), day.timestamp() + 24 * _HOUR_S
    first = day.replace(day=1)
    years, month = divmod(first.month, 12)
    return first.timestamp(), first.replace(year=first.year + years, month=month + 1).timestamp()


def after(
    ledger: Ledger,
    window: Window,
    charges: Sequence[Charge],
    told: Mapping[str, Told],
    now_s: float,
    *,
    complete: bool = True,
) -> Ledger:
    """The ledger with all that came until now.

    `told`: by router pod; one that is silent is heard of later.  `complete`: none is.

    What runs now is taken to have run since the last look.
    """
    if ledger.at_s - now_s > _AHEAD_S:
        ledger = Ledger()
    if ledger.at_s and now_s <= ledger.at_s:
        return ledger  # a clock that was set back
    began, turned = ledger.at_s or now_s, _turned(ledger, window, now_s)
    inside_s = now_s - max(began, turned.start_s)
    part = inside_s / (now_s - began) if now_s > began else 0.0
    marks, gained = _heard(turned, told, now_s)
    heard_s = now_s if complete else turned.heard_s
    marks = {pod: mark for pod, mark in marks.items() if heard_s - mark.seen_s <= KEEP_S}
    sent = _lately(turned, gained, charges, seconds=now_s - began)
    turned = replace(turned, sent=sent)
    cost = {
        one.tier: one.per_hour * one.replicas * share_of(turned, one) * (now_s - began) / _HOUR_S
        for one in charges
    }
    for tier, dollars in gained.dollars.items():
        cost[tier] = cost.get(tier, 0.0) + dollars
    spent = {tier: turned.spent.get(tier, 0.0) + part * dollars for tier, dollars in cost.items() if dollars}
    watched_s = min(_LATELY_S, turned.watched_s + now_s - began)
    rate, weight = _rate(turned, math.fsum(cost.values()), seconds=now_s - began, watched_s=watched_s)
    return replace(
        turned,
        at_s=now_s,
        heard_s=heard_s,
        spent=_bounded({**turned.spent, **spent}),
        per_hour=turned.per_hour + weight * (rate - turned.per_hour),
        watched_s=watched_s,
        marks=marks,
    )


def share_of(ledger: Ledger, charge: Charge) -> float:
    """The Cascade's part of a tier: of its requests lately; of as many Cascades as share it, while there are none."""
    own, total = ledger.sent.get(charge.tier, (0.0, 0.0))
    if charge.users <= 1:
        return 1.0
    return own / total if total > 0 else 1 / charge.users


def owed(ledger: Ledger, charges: Sequence[Charge], seconds: float) -> float:
    """Dollars that replicas which have to run in any case cost the Cascade in so long a time."""
    return math.fsum(one.per_hour * one.least * share_of(ledger, one) for one in charges) * seconds / _HOUR_S


def _turned(ledger: Ledger, window: Window, now_s: float) -> Ledger:
    """In the window that it is now: what was spent in another one is left behind."""
    start_s, _ = window_of(window, now_s)
    if not ledger.at_s:
        return Ledger(window=window, start_s=start_s, since_s=now_s, began_s=now_s, heard_s=now_s)
    # Of a longer window that is set now, what was spent in the shorter one is a part.
    if ledger.start_s >= start_s:
        return replace(ledger, window=window, start_s=start_s)
    same = ledger.window == window
    return replace(
        ledger,
        window=window,
        start_s=start_s,
        # Nobody knows what of a longer window's money went in a shorter one.
        since_s=start_s if same else max(start_s, ledger.at_s),
        spent={},
        exhausted_at=None,
    )


def _heard(ledger: Ledger, told: Mapping[str, Told], now_s: float) -> tuple[Mapping[str, Mark], Told]:
    """Where the counters stand now, and what they have gained together."""
    dollars, own, every = dict[str, float](), dict[str, float](), dict[str, float]()
    for pod, now in sorted(told.items()):
        before = _before(ledger, pod, now)
        for total, had, has in (
            (dollars, before.dollars, now.dollars),
            (own, before.own, now.own),
            (every, before.all, now.all),
        ):
            _add(total, had, has)
    kept = {**ledger.marks, **{pod: Mark(now_s, one) for pod, one in told.items()}}
    newest = sorted(kept, key=lambda pod: (-kept[pod].seen_s, pod))[:MARKS_MAX]
    return {pod: kept[pod] for pod in newest}, Told(0.0, dollars, own, every)


def _before(ledger: Ledger, pod: str, now: Told) -> Told:
    """What of a process's counters stands in the ledger."""
    mark = ledger.marks.get(pod)
    if mark is not None and mark.told.began_s == now.began_s:
        return mark.told
    is_new = now.began_s >= max(ledger.began_s - _CLOCKS_S, ledger.heard_s - _NEW_S)
    return Told(now.began_s, {}, {}, {}) if is_new else now


def _add(total: dict[str, float], had: Mapping[str, float], has: Mapping[str, float]) -> None:
    for tier, value in has.items():
        before = had.get(tier, 0.0)
        # A tier that left a router's table and came back is counted from zero by the same process.
        total[tier] = total.get(tier, 0.0) + (value - before if value >= before else value)


def _bounded(spent: Mapping[str, float]) -> dict[str, float]:
    """What tiers cost whose names came and went is kept as one."""
    if len(spent) <= _TIERS_MAX:
        return dict(spent)
    *rest, least, second = sorted(spent, key=lambda tier: -spent[tier] if tier != _OTHERS else 0.0)
    return _bounded({**{tier: spent[tier] for tier in rest}, _OTHERS: spent[least] + spent[second]})


def _lately(
    ledger: Ledger, gained: Told, charges: Sequence[Charge], *, seconds: float
) -> dict[str, tuple[float, float]]:
    """Requests to the tiers that several Cascades share; what is older counts less."""
    left = math.exp(-seconds / _LATELY_S)
    found = {}
    for tier in (one.tier for one in charges if one.users > 1):
        own, total = ledger.sent.get(tier, (0.0, 0.0))
        found[tier] = (own * left + gained.own.get(tier, 0.0), total * left + gained.all.get(tier, 0.0))
    return found


def _rate(ledger: Ledger, cost: float, *, seconds: float, watched_s: float) -> tuple[float, float]:
    """Dollars an hour in this step, and how much it counts among those lately."""
    if seconds <= 0:
        return ledger.per_hour, 0.0
    return cost / seconds * _HOUR_S, min(1.0, seconds / watched_s)
