"""Spend fast: how the router moves the dear tier's share within a second, and never loses what is owed over an hour.

The slow loop publishes a target share and what each tier can carry.  Between two of its looks the load moves: the dear
tier keeps the load that it was planned for, the cheap ones take the rest, and a bank remembers what the dear tier owes
(or has given too much) in requests.  What was not given in a burst is given back when there is room.  Every router runs
this on its own counts, which are a fair sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_SETTLE_S = 180.0  # in which the balance is brought back to nothing
_DRAIN_S = 5.0  # in which a backlog is to be worked off
_HOUR_S = 3600.0
_SAVED_MAX, _OWED_MAX = 0.05, 0.02  # of an hour: what is kept, and what may be owed before it is paid first
_SAVED_FULL = 0.99  # of what may be kept: as good as all of it
_DEBT_MAX = 0.05  # beyond it what is owed is forgiven: who was away must not be overrun when it is back
_MOST, _LEAST = 1.5, 0.5  # times the target, while the balance allows it


@dataclass(frozen=True, slots=True)
class Supply:
    """One side of the cascade.  `carries_rps`: with all its ready replicas, within the objectives."""

    carries_rps: float
    backlog: float = 0.0  # requests beyond what it should have under way

    @property
    def takes_rps(self) -> float:
        return max(0.0, self.carries_rps - self.backlog / _DRAIN_S)


@dataclass(frozen=True, slots=True)
class Bank:
    """`balance`: requests that the dear tier answered beyond its share; negative: that it owes.  `hour`: of requests."""

    balance: float = 0.0
    hour: float = 0.0

    def after(self, *, dear: float, total: float, target: float, seconds: float = 1.0) -> "Bank":
        """With the answers of the last second or so; kept between bounds that follow what an hour brings."""
        hour = self.hour * max(0.0, 1 - seconds / _HOUR_S) + total
        balance = self.balance + dear - target * total
        return Bank(min(_SAVED_MAX * hour, max(-_DEBT_MAX * hour, balance)), hour)

    def times(self, factor: float) -> "Bank":
        """The account of one who gets so many times the requests."""
        return Bank(self.balance * factor, self.hour * factor)


def share(bank: Bank, *, target: float, rate_rps: float, cheap: Supply, dear: Supply) -> float:
    """The dear tier's share of the entries for the next second, 0 to 1.

    It gets as much as it takes, corrected by what it owes; a balance that is used up is paid first of all; and the
    cheap side is not asked for more than it takes while the dear one is not full, too.
    """
    if rate_rps <= 0:
        return target
    most = min(1.0, dear.takes_rps / rate_rps)
    need = min(1.0, max(0.0, 1 - cheap.takes_rps / rate_rps))
    wanted = most - bank.balance / (_SETTLE_S * rate_rps)
    chosen = min(max(wanted, _LEAST * target), _MOST * target)
    # What would be forgotten is not given: a young account keeps little, and an idle dear tier is no reason for more.
    if 0 < _SAVED_FULL * _SAVED_MAX * bank.hour <= bank.balance:
        chosen = min(chosen, target)
    if bank.hour and bank.balance <= -_OWED_MAX * bank.hour:
        chosen = max(chosen, target)
    if need > max(chosen, most):  # all are full: each gets what it can bear as well as the others
        both = cheap.takes_rps + dear.takes_rps
        need = max(chosen, dear.takes_rps / both) if both > 0 else chosen
    return min(1.0, max(chosen, need))


def entries(bank: Bank, *, target: float, rate_rps: float, sides: Sequence[Supply]) -> list[float]:
    """The share of every tier, cheapest first: the last one's by the law, the rest by what each of the others carries."""
    before = sides[:-1]
    cheap = Supply(sum(one.carries_rps for one in before), sum(one.backlog for one in before))
    dear = share(bank, target=target, rate_rps=rate_rps, cheap=cheap, dear=sides[-1])
    rest = cheap.carries_rps or 1.0
    return [*((1 - dear) * one.carries_rps / rest for one in before), dear]
