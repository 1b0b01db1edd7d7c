"""Spend fast: how the router moves the dear tier's share within a second, and never loses what is owed over an hour.

The slow loop publishes a target share and what each tier can carry.  Between two of its looks the load moves: then
the share follows it, and a bank remembers what the dear tier owes (or has given too much) in requests.  What was not
given in a burst is earned back when there is room.  Every router runs this on its own counts, which are a fair sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_SETTLE_S = 120.0  # in which the balance is brought back to nothing
_DRAIN_S = 5.0  # in which a backlog is to be worked off
_HOUR_S = 3600.0
_SAVED_MAX, _OWED_MAX = 0.05, 0.02  # of an hour's requests
_RICH = 0.01
_SPARE = 0.9  # of what the dear tier carries, to earn with
_EARN = 1.15  # times the target, at most
_LEAST = 0.5  # times the target, at least, while the balance allows it


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
    """`balance`: requests that the dear tier answered beyond its share; negative: that it owes."""

    balance: float = 0.0

    def after(self, *, dear: float, total: float, target: float, rate_rps: float) -> "Bank":
        """With the answers of the last second; kept between the bounds of an hour at this rate."""
        hour = max(1.0, rate_rps * _HOUR_S)
        balance = self.balance + dear - target * total
        return Bank(min(_SAVED_MAX * hour, max(-_OWED_MAX * hour, balance)))


def share(bank: Bank, *, target: float, rate_rps: float, cheap: Supply, dear: Supply) -> float:
    """The dear tier's share of the entries for the next second, 0 to 1.

    In this order: the cheap side must not be asked for more than it takes, the dear one neither; the balance is
    settled; a balance that is used up is paid first of all; paid capacity that idles earns for the next burst.
    """
    if rate_rps <= 0:
        return target
    need = min(1.0, max(0.0, 1 - cheap.takes_rps / rate_rps))
    most = min(1.0, dear.takes_rps / rate_rps)
    hour = rate_rps * _HOUR_S
    wanted = target - bank.balance / (_SETTLE_S * rate_rps)
    chosen = min(max(wanted, need, _LEAST * target), max(most, need))
    if bank.balance < _RICH * hour and dear.backlog <= 0:
        chosen = max(chosen, min(_EARN * target, _SPARE * most))
    if bank.balance <= -_OWED_MAX * hour:
        chosen = max(chosen, target)
    return min(1.0, max(0.0, chosen))


def entries(bank: Bank, *, target: float, rate_rps: float, sides: Sequence[Supply]) -> list[float]:
    """The share of every tier, cheapest first: the last one's by the law, the rest by what each of the others carries."""
    before = sides[:-1]
    cheap = Supply(sum(one.carries_rps for one in before), sum(one.backlog for one in before))
    dear = share(bank, target=target, rate_rps=rate_rps, cheap=cheap, dear=sides[-1])
    rest = cheap.carries_rps or 1.0
    return [*((1 - dear) * one.carries_rps / rest for one in before), dear]
