"""Routers that end and begin, one after another, under bursts: what the dear tier is owed stays owed, once.

Real laws (route/law.py), with what the operator tells those that begin (plan/balance.py), and amounts for requests.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from modelfleet.api.balance import Balance
from modelfleet.plan.balance import published
from modelfleet.route.bank import Bank
from modelfleet.route.law import Law, Side

OWED = 0.3
CHEAP = Side(entered=0, answered=0, in_flight=0, ready=4, carries_rps=30.0, under_way=40.0)
DEAR = replace(CHEAP, ready=3, carries_rps=10.0, under_way=20.0)
HOUR_S, LOOK_S, TOLD_AFTER_S = 3600, 15, 30

Rate = Callable[[int], float]  # requests per second, by the second
Owing = Callable[[Balance | None], Bank]


def bursts(second: int) -> float:
    """For six minutes more than all can carry within the objectives, then a calm quarter of an hour."""
    return 200.0 if second % 1260 < 360 else 70.0


def idling(second: int) -> float:
    """Mostly less than the dear tier was planned for."""
    return 130.0 if second % 600 < 300 else 60.0


def told(balance: Balance | None) -> Bank:
    """What a new router makes of its table."""
    return Bank() if balance is None else Bank(balance.ahead / 1000 * balance.answers, float(balance.answers))


def forgotten(_: Balance | None) -> Bank:
    return Bank()


@dataclass
class Router:
    law: Law
    entered: list[float] = field(default_factory=lambda: [0.0, 0.0])
    shares: list[float] = field(default_factory=lambda: [1 - OWED, OWED])

    def second(self, rate_rps: float, routers: int) -> tuple[float, float]:
        came = [rate_rps * share for share in self.shares]
        self.entered = [total + new for total, new in zip(self.entered, came, strict=True)]
        sides = [
            replace(
                side,
                entered=total,
                answered=total,
                carries_rps=side.carries_rps / routers,
                under_way=side.under_way / routers,
            )
            for side, total in zip((CHEAP, DEAR), self.entered, strict=True)
        ]
        self.law.among(routers)
        self.shares = self.law.second(sides, target=OWED)
        return came[0], came[1]


def dear_share(
    *, rate: Rate, owing: Owing, hours: int = 2, counts: Callable[[int], int], roll_every_s: int
) -> float:
    """The dear tier's share of the answers after the first hour.  Every `roll_every_s` the oldest router is replaced."""
    routers: deque[Router] = deque()
    answers: deque[tuple[float, float]] = deque(maxlen=HOUR_S)
    shown: Balance | None = None
    heard: deque[Balance | None] = deque([None], maxlen=TOLD_AFTER_S)
    total, dear = 0.0, 0.0
    for second in range(hours * HOUR_S):
        while len(routers) < counts(second):
            routers.append(Router(Law(owing(heard[0]))))
        while len(routers) > counts(second):
            routers.popleft()
        if roll_every_s and second % roll_every_s == roll_every_s - 1:
            routers.append(Router(Law(owing(heard[0]))))
            routers.popleft()
        new = [one.second(rate(second) / len(routers), len(routers)) for one in routers]
        answers.append((sum(each[0] for each in new), sum(each[1] for each in new)))
        if second % LOOK_S == 0:
            cheap, last = (sum(each[at] for each in answers) for at in (0, 1))
            shown = published({"small": cheap, "big": last}, last="big", owed_permille=300, shown=shown)
        heard.append(shown)
        if second >= HOUR_S:
            dear, total = dear + answers[-1][1], total + sum(answers[-1])
    return dear / total


def _one(_: int) -> int:
    return 1


def _four(_: int) -> int:
    return 4


def _six_or_two(second: int) -> int:
    return 2 if second // 300 % 2 else 6


Case = tuple[Rate, Callable[[int], int], int, float]
# The last: how far from those that stay.  What is told is up to half a minute old, and moves in steps.
ROLLS: dict[str, Case] = {
    "every router lives two minutes": (bursts, _four, 30, 0.005),
    "every router lives twenty minutes": (bursts, _four, 300, 0.005),
    "a saved hour is not forgotten either": (idling, _four, 60, 0.005),
    "there are six for five minutes, then two": (bursts, _six_or_two, 0, 0.012),
    "one alone, again and again": (bursts, _one, 120, 0.005),
}


@pytest.mark.parametrize(("rate", "counts", "every_s", "off"), ROLLS.values(), ids=ROLLS)
def test_the_share_is_what_routers_that_stay_give(
    rate: Rate, counts: Callable[[int], int], every_s: int, off: float
) -> None:
    stays = dear_share(rate=rate, owing=told, counts=_one, roll_every_s=0)

    assert dear_share(rate=rate, owing=told, counts=counts, roll_every_s=every_s) == pytest.approx(
        stays, abs=off
    )


def test_without_what_they_are_told_they_forget() -> None:
    # What was saved, above all: each that begins saves it again, and the dear tier gives more than it owes.
    rate, counts, every_s, off = ROLLS["every router lives two minutes"]
    stays = dear_share(rate=rate, owing=told, counts=_one, roll_every_s=0)

    assert dear_share(rate=rate, owing=forgotten, counts=counts, roll_every_s=every_s) > stays + 2 * off
