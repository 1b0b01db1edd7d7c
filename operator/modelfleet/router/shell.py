"""What an exchange needs of the world."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from modelfleet.router.bodies import Bodies
from modelfleet.router.recorder import OFF, Recorder


@dataclass(frozen=True, slots=True)
class Shell:
    """Shared by all exchanges of a router."""

    loop: asyncio.AbstractEventLoop
    spin: Callable[[], float]  # uniform in [0, 1): where to enter
    turn: Callable[[], int]  # counts up: who wins a tie
    recorder: Recorder = OFF
    bodies: Bodies = field(default_factory=Bodies)
