"""Entries of the simulated Cascade move as those of a live router: one law, and the same words for what it reads."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle

import pytest

from modelfleet.api.route_table import RouterRules
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths
from modelfleet.router import entries
from modelfleet.sim.arrivals import staged
from modelfleet.sim.entries import side
from modelfleet.sim.fleet import Arrival, Cascade, Tier
from modelfleet.sim.fluid import Fluid
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.policy import Orders, Published, Seen
from modelfleet.sim.world import World
from tests.router.entry_rig import BIG, SMALL, only, shares, state_of
from tests.router.rig import cascade

TOLD = Published(0.3, (10.0, 4.0), (20.0, 15.0))
TIERS = (
    Tier("small", PROFILES["8b-h100"], replicas_start=2, entries_min=0.5, entries_max=0.8),
    Tier("big", PROFILES["70b-h100-tp4"], replicas_start=2, entries_min=0.1, entries_max=0.4),
)
# What comes to each tier in a second, what it answers, and what it has in flight.
SECONDS = [
    ((14, 6), (14, 6), (20, 10)),
    ((25, 8), (15, 4), (40, 30)),
    ((60, 20), (20, 8), (90, 60)),
    ((3, 1), (30, 9), (10, 2)),
    ((0, 0), (5, 8), (0, 0)),
]


async def test_what_the_law_reads_is_what_a_router_tells_it():
    """A real router's line and the simulator's side, second by second over the same counts."""
    routed = [
        replace(one, carries_per_hour=round(3600 * rate), under_way=round(busy), least_permille=least, most_permille=most)
        for one, rate, busy, least, most in zip(
            (SMALL, BIG), TOLD.carries_rps, TOLD.under_way, (500, 100), (800, 400), strict=True
        )
    ]  # fmt: skip
    state = await state_of(replace(cascade(*routed), owed_permille=300), rules=RouterRules(routers=1))
    line = only(state)
    world = World(Cascade(TIERS, share_floor=0.3), [], Static())
    entered, answered = [0, 0], [0, 0]
    for came, gave, busy in [*SECONDS, *SECONDS, *SECONDS]:
        sides = []
        for at, step in enumerate(line.steps):
            entered[at] += came[at]
            answered[at] += gave[at]
            step.stats.started, step.stats.answered, step.stats.in_flight = (
                entered[at],
                answered[at],
                busy[at],
            )
            sides.append(
                side(
                    TIERS[at],
                    TOLD,
                    at,
                    entered=entered[at],
                    answered=answered[at],
                    in_flight=busy[at],
                    ready=2,
                )
            )
        entries.spend([line], routers=1, seconds=1.0)
        world.law.second(sides, target=TOLD.target)

        assert shares(state) == pytest.approx(world.law.shares, abs=0.001)


class Publishes:
    """Lets the routers move within some numbers, and orders nothing."""

    name, look_s = "publishes", 15.0

    def __init__(self, told: Published = TOLD) -> None:
        self._told = told

    def decide(self, seen: Seen) -> Orders:
        return Orders({}, published=self._told)


def load(rate_rps: float) -> Iterator[Arrival]:
    return staged([(rate_rps, 300)], prompt=512, output=128, seed=2)


LOADS = {
    "a burst that the small tier cannot take": (60.0, 0.4),  # wants more of the big one than it may get
    "a calm hour": (10.0, 0.3),
}


@pytest.mark.parametrize(("rate_rps", "most"), LOADS.values(), ids=LOADS)
def test_the_users_bounds_hold_in_the_simulator(rate_rps: float, most: float):
    seen: list[Sequence[float]] = []

    class Noted(World):
        def _enter(self, shares: Sequence[float]) -> None:  # type: ignore[override]
            seen.append(tuple(shares))
            super()._enter(shares)

    Noted(Cascade(TIERS, share_floor=0.3), load(rate_rps), Publishes(), entry=(0.7, 0.3)).run(300.0)
    big = [shares[-1] for shares in seen]

    assert min(big) >= 0.1 - 1e-9
    assert max(big) <= 0.4 + 1e-9
    assert max(big) == pytest.approx(most, abs=0.12)


def test_the_fluid_keeps_them_too():
    fluid = Fluid(Cascade(TIERS, share_floor=0.3), Lengths(512, 128), Publishes())
    outcome = fluid.run([rate for rate, _ in zip(cycle((20.0, 90.0)), range(900), strict=False)])

    assert 0.1 <= outcome.share_last <= 0.4
