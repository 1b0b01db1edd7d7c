"""The line before busy places: in order of arrival, and between tenants in turn by tokens.

Who sends the longest prompts must not make the others wait for them.  So each tenant has a count of the tokens that it
was given here, and a free place goes to the one with the lowest: start-time fair queuing (Goyal, Vin, Cheng: SIGCOMM
1996), in tokens (Sheng et al., "Fairness in Serving Large Language Models": OSDI 2024).  A tenant that comes to the
line begins where the turn is: nobody saves up while away.  A request is charged with a guess when it gets its place,
and with what it took when its engine has told.  Whoever finds a free place is neither charged nor counted.

The laws: of two tenants that wait all the time neither is given more than the largest charge of each before the
other; each request is passed by only so many others, so none waits for ever; of one tenant all go in their order.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from modelfleet.route import context

W = TypeVar("W")
X = TypeVar("X")

# A token that an engine writes takes it longer than one that it reads: the weights of that paper.
OUTPUT_WEIGHT: Final = 2.0
BYTES_PER_TOKEN: Final = 4  # of English; a guess, until the engine tells
ANSWER_TOKENS: Final = (
    256  # that an answer is guessed to have at most: clients set far higher limits than they need
)


class FairLine(Generic[W, X]):
    """Who waits, what each wishes, and whose turn it is."""

    __slots__ = ("_clock", "_given", "_queues", "_seats")

    def __init__(self) -> None:
        self._seats: dict[W, tuple[str, X]] = {}  # all who wait, with their tenants: oldest first
        self._queues: dict[
            str, dict[W, float]
        ] = {}  # by tenant, who waits: oldest first, with the tokens of each
        self._given: dict[str, float] = {}  # tokens by tenant; one that is not here has the clock's
        self._clock = 0.0  # what the tenant had been given whose turn was last

    def __len__(self) -> int:
        return len(self._seats)

    def __contains__(self, waiter: object) -> bool:
        return waiter in self._seats

    def __iter__(self) -> Iterator[W]:
        return iter(self._seats)

    def seats(self) -> list[tuple[W, X]]:
        """All who wait, in order of arrival."""
        return [(waiter, wish) for waiter, (_, wish) in self._seats.items()]

    def join(self, waiter: W, wish: X, *, tenant: str, tokens: float) -> None:
        """Wait as the last one of this tenant."""
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = {}
            self._given[tenant] = max(self._clock, self._given.get(tenant, 0.0))
        queue[waiter] = tokens
        self._seats[waiter] = (tenant, wish)

    def quit(self, waiter: W) -> None:
        """Wait no more; it may be said twice."""
        seat = self._seats.pop(waiter, None)
        if seat is None:
            return
        queue = self._queues[seat[0]]
        del queue[waiter]
        if not queue:
            del self._queues[seat[0]]

    def in_turn(self) -> Iterator[tuple[W, X]]:
        """Who waits, those first whose turn it is."""
        if len(self._queues) < 2:  # noqa: PLR2004 - nobody to be fair to
            for waiter, (_, wish) in self._seats.items():
                yield waiter, wish
            return
        for tenant in sorted(self._queues, key=self._given.__getitem__):  # alike: who came first
            for waiter in self._queues[tenant]:
                yield waiter, self._seats[waiter][1]

    def serve(self, waiter: W) -> float:
        """It gets a place and leaves the line.  What it was charged, in tokens."""
        tenant, _ = self._seats[waiter]
        tokens = self._queues[tenant][waiter]
        self._clock = max(self._clock, self._given[tenant])
        self._given[tenant] += tokens
        self.quit(waiter)
        self._forget()
        return tokens

    def correct(self, tenant: str, tokens: float) -> None:
        """A request of this tenant took so many tokens more than it was charged, or fewer."""
        if tenant in self._queues:
            self._given[tenant] += tokens
        else:
            self._given[tenant] = max(self._clock, self._given.get(tenant, self._clock) + tokens)

    def ahead(self, tenant: str) -> int:
        """About how many will have had their turn before one more of this tenant."""
        own = self._queues.get(tenant)
        if own is None:
            own = {}
        elif len(self._queues) == 1:
            return len(own)
        turn = max(self._clock, self._given.get(tenant, 0.0)) + sum(own.values())
        return len(own) + sum(self._before(one, turn) for one in self._queues if one != tenant)

    def _before(self, tenant: str, turn: float) -> int:
        """How many of this tenant have had theirs when somebody's count has come to `turn`."""
        count, start = 0, self._given[tenant]
        for tokens in self._queues[tenant].values():
            if start > turn:
                break
            start += tokens
            count += 1
        return count

    def gives_way(self, tenant: str) -> W | None:
        """Who leaves a full line for one more of this tenant: the last one of the tenant that has most in it.

        None: nobody, as no other would still have as many in line as this one.
        """
        if not self._queues:
            return None
        largest = max(self._queues.values(), key=len)
        if len(largest) < len(self._queues.get(tenant, ())) + 2:
            return None
        return next(reversed(largest))

    def tenants(self) -> int:
        """How many have somebody in line."""
        return len(self._queues)

    def _forget(self) -> None:
        """Those who are not ahead of the clock and do not wait are as good as new."""
        if len(self._given) > len(self._queues) + 1:
            for tenant in [one for one, given in self._given.items() if given <= self._clock]:
                if tenant not in self._queues:
                    del self._given[tenant]


def guess(body_bytes: int, fields: Mapping[str, Any]) -> float:
    """What a request will be charged, by the length of its body and the answer that its fields allow."""
    answer = min(context.answer_tokens(fields) or ANSWER_TOKENS, ANSWER_TOKENS)
    return max(1.0, body_bytes / BYTES_PER_TOKEN + OUTPUT_WEIGHT * answer)


def cost(used: tuple[int, int]) -> float:
    """What it should have been charged, by its input and output tokens."""
    return max(1.0, used[0] + OUTPUT_WEIGHT * used[1])
