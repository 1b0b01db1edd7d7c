"""The way of a request whose cost is bounded: it passes over what it cannot pay for."""

from collections.abc import Sequence

from modelfleet.route.choose import Tries
from modelfleet.route.purse import Purse
from modelfleet.router.fleet import Passage, Step
from modelfleet.router.upstream import Replica


class ThriftyTries(Tries[Step, Replica]):
    """Tries that are paid from a purse."""

    __slots__ = ("_purse",)

    def __init__(self, order: Sequence[Step], *, turn: int, purse: Purse) -> None:
        super().__init__(order, turn=turn)
        self._purse = purse

    def step(self) -> Step | None:
        found = super().step()
        while found is not None and not self._purse.covers(found.route.price):
            self.move_on()
            found = super().step()
        return found

    def began(self, replica: Replica) -> None:
        step = super().step()
        super().began(replica)
        if step is not None:
            self._purse.began(step.route.price)

    def ended(self, outcome: str) -> None:
        self._purse.ended(outcome)

    def over(self, steps: Sequence[Step]) -> Tries[Step, Replica]:
        return ThriftyTries(steps, turn=self.turn, purse=self._purse)


def tries(passage: Passage, *, turn: int) -> Tries[Step, Replica]:
    """The tries of a request with this passage."""
    if passage.purse is None:
        return Tries(passage.order, turn=turn)
    return ThriftyTries(passage.order, turn=turn, purse=passage.purse)
