"""A Cascade whose entries its routers move, and what they see of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from modelfleet.api.route_table import CascadeRoute, RouterRules, RouteTable
from modelfleet.router.fleet import Line
from modelfleet.router.metrics import RouterMetrics
from modelfleet.router.secrets import Secrets
from modelfleet.router.state import State
from tests.router.rig import ROUTER, cascade, config_map, slices, tier

LAWFUL = {"carries_per_hour": 36_000, "under_way": 20}
SMALL = replace(tier("small", weight=1000), **LAWFUL)
BIG = replace(tier("big", weight=0), **LAWFUL)
CHAT = replace(cascade(SMALL, BIG), owed_permille=300)


async def state_of(
    *cascades: CascadeRoute, replicas: Sequence[int] = (2, 2), rules: RouterRules | None = None
) -> State:
    state = State(
        metrics=RouterMetrics("ns"), secrets=Secrets(), loop=asyncio.get_running_loop(), router=ROUTER
    )
    ports = {
        name: [1000 * place + one for one in range(count)]
        for place, (name, count) in enumerate(zip(("small-svc", "big-svc"), replicas, strict=True), 1)
    }
    state.endpoint_slices_changed(slices(ports))
    told = RouteTable(cascades, rules) if rules is not None else RouteTable(cascades)
    state.config_maps_changed(config_map(told), now_s=1.0)
    return state


def shares(state: State) -> list[float]:
    return [round(step.stats.entry_share, 3) for step in only(state).steps]


def only(state: State) -> Line:
    (line,) = state.fleet.lines.values()
    return line
