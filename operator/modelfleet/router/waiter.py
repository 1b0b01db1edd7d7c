"""Who waits in the line before a tier's replicas, and for what."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from modelfleet.router.upstream import Replica


class Waiter(Protocol):
    """A request that waits for a place.  Exactly one of these is called, unless it leaves before."""

    size: int  # of its body, in bytes
    charged: float  # tokens, for the place that it got from the line; 0.0 where it found one free

    @property
    def tenant(self) -> str: ...  # whose request it is: an API key's name, or empty
    def admitted(self, replica: Replica) -> None: ...
    def turned_away(self, why: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request in line would take."""

    tried: Collection[Replica]  # none of these
    key: int | None  # of its beginning
    deadline_s: float
    until_s: float  # how long it may wait for the first replica
    tokens: float  # that it will take, as far as one can guess
