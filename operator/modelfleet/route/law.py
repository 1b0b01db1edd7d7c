"""A Cascade's entry shares from second to second: `bank` on the router's own counts, within the user's bounds.

The route table says what one replica carries and what the last tier owes over an hour.  Where it does not, there is no
law, and entries are as the table's weights have them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelfleet.route.bank import Bank, Supply, entries

RATE_GAIN = 0.2  # of the newest second in the rate
_ROUNDS_MAX = 8  # of handing on what does not fit; each fills at least one of at most eight tiers
_SMALL = 1e-9


@dataclass(frozen=True, slots=True)
class Side:
    """One tier as one router sees it.  Counts since it began; `carries_rps` and `under_way` of its part of a replica."""

    entered: float  # requests that began here; a simulated fluid has amounts
    answered: float  # requests whose answer came from here
    in_flight: float
    ready: int  # replicas
    carries_rps: float
    under_way: float
    least: float = 0.0  # of the entries, 0 to 1
    most: float = 1.0
    shut: bool = False  # nothing answers there, and nobody wakes it


class Law:
    """What one router remembers of one Cascade.

    `bank`: the account of all routers together, which it takes its part of with the first `among`.  Every router that
    is there takes its part anew when their number changes.  So what is owed is neither forgotten with a router that
    ends, nor owed twice with one that begins.
    """

    __slots__ = ("_answered", "_dear", "_entered", "_routers", "bank", "rate_rps", "shares")

    def __init__(self, bank: Bank | None = None) -> None:
        self.bank = Bank() if bank is None else bank
        self._routers = 1
        self.rate_rps = 0.0
        self.shares: tuple[float, ...] = ()  # that it gave last
        self._entered = -1.0
        self._answered = 0.0
        self._dear = 0.0

    def among(self, routers: int) -> None:
        """It is one of so many, which get equal parts of the requests."""
        if routers != self._routers:
            self.bank = self.bank.times(self._routers / routers)
            self._routers = routers

    def second(self, sides: Sequence[Side], *, target: float, seconds: float = 1.0) -> list[float]:
        """The shares of the tiers, cheapest first, for the next second; they sum to 1.

        `target`: what the last tier owes of the answers, 0 to 1; `seconds` since the last call.
        """
        entered = sum(side.entered for side in sides)
        answered, dear = sum(side.answered for side in sides), sides[-1].answered
        if self._entered < 0:  # requests before it are none of its matter
            self._entered, self._answered, self._dear = entered, answered, dear
        came_rps = (entered - self._entered) / seconds
        self.rate_rps += RATE_GAIN * (came_rps - self.rate_rps)
        self.bank = self.bank.after(
            dear=dear - self._dear, total=answered - self._answered, target=target, seconds=seconds
        )
        self._entered, self._answered, self._dear = entered, answered, dear
        supplies = [
            Supply(side.ready * side.carries_rps, max(0.0, side.in_flight - side.ready * side.under_way))
            for side in sides
        ]
        rate_rps = max(self.rate_rps, came_rps)
        wanted = entries(self.bank, target=target, rate_rps=rate_rps, sides=supplies)
        # As long as one is open, none enters where nothing answers.
        shut = [side.shut and not all(each.shut for each in sides) for side in sides]
        least = [0.0 if gone else side.least for side, gone in zip(sides, shut, strict=True)]
        most = [0.0 if gone else side.most for side, gone in zip(sides, shut, strict=True)]
        if not any(most):  # but somewhere they have to
            most = [0.0 if gone else 1.0 for gone in shut]
        found = bounded(wanted, least, most)
        self.shares = tuple(found)
        return found


def bounded(shares: Sequence[float], least: Sequence[float], most: Sequence[float]) -> list[float]:
    """The shares within their bounds, summing to 1: what does not fit goes to the others in proportion to their room.

    Bounds that no shares can meet give way.
    """
    found = [min(max(share, low), high) for share, low, high in zip(shares, least, most, strict=True)]
    for _ in range(_ROUNDS_MAX):
        short = 1.0 - sum(found)
        if abs(short) < _SMALL:
            break
        edges = most if short > 0 else least
        room = [abs(edge - share) for edge, share in zip(edges, found, strict=True)]
        total = sum(room)
        if total < _SMALL:
            break
        part = min(1.0, abs(short) / total) * (1 if short > 0 else -1)
        found = [share + part * space for share, space in zip(found, room, strict=True)]
    whole = sum(found)
    return [share / whole for share in found] if whole > 0 else [1.0 / len(found)] * len(found)
