"""A spent budget, with real sockets: what clients see, what the API never sees, and the minute it is over."""

import asyncio
from dataclasses import replace

import pytest

from modelfleet.api.route_table import AcceptRule, BudgetSpent, CascadeRoute, ExternalTarget, RouteTable
from modelfleet.router.metrics import RouterMetrics
from modelfleet.router.secrets import Secrets
from modelfleet.router.state import State
from tests.router.rig import (
    GOOD,
    ROUTER,
    Act,
    Engine,
    cascade,
    config_map,
    engines,
    post,
    raw,
    reply,
    router,
    tier,
)

FAR_S = 4_000_000_000.0  # in a hundred years
RULE = AcceptRule("MeanLogprob", -0.5)
UNSURE = {
    **GOOD,
    "choices": [{**GOOD["choices"][0], "logprobs": {"content": [{"token": "a", "logprob": -3.0}]}}],
}


def route(
    action: str | None, api: Engine, *, until_s: float = FAR_S, weights: tuple[int, int] = (500, 500)
) -> CascadeRoute:
    target = ExternalTarget(f"http://127.0.0.1:{api.port}/v1", None, None)
    return cascade(
        tier("small", weight=weights[0], engine="vllm", accept=RULE),
        tier("gpt", weight=weights[1], external=target),
        spent=None if action is None else BudgetSpent(action, until_s),
    )


# What the small tier does; requests that each engine gets of one that draws the API; status; who answers.
STORIES = {
    "with money: it starts at the API": (None, [reply(GOOD)], (0, 1), 200, "gpt"),
    "StopEscalating: it starts at home, and its answer is sent": (
        "StopEscalating",
        [reply(UNSURE)],
        (1, 0),
        200,
        "small",
    ),
    "StopEscalating: an outage at home is the API's": ("StopEscalating", [raw()], (2, 1), 200, "gpt"),
    "SkipTier: its answer is sent": ("SkipTier", [reply(UNSURE)], (1, 0), 200, "small"),
    "SkipTier: not even an outage is the API's": ("SkipTier", [reply({}, status=500)], (1, 0), 503, None),
    "Reject: nobody is asked": ("Reject", [reply(GOOD)], (0, 0), 429, None),
}


@pytest.mark.parametrize(("action", "acts", "asked", "status", "by"), STORIES.values(), ids=STORIES)
async def test_spent(
    action: str | None, acts: list[Act], asked: tuple[int, int], status: int, by: str | None
):
    async with (
        engines(acts, [reply(GOOD)]) as (small, api),
        router(route(action, api), {"small-svc": [small.port]}, spin=0.9) as rig,
    ):
        answer = await rig.ask(post())

    assert (answer.status, answer.headers.get("x-modelfleet-tier")) == (status, by)
    assert (len(small.asked) > 0, len(api.asked) > 0) == (asked[0] > 0, asked[1] > 0)


async def test_a_refusal_says_when_there_is_money_again():
    async with (
        engines([reply(GOOD)], [reply(GOOD)]) as (small, api),
        router(route("Reject", api), {"small-svc": [small.port]}) as rig,
    ):
        answer = await rig.ask(post())
        refused = rig.state.metrics.refused

    assert answer.error["code"] == "budget_spent"
    assert answer.error["type"] == "insufficient_quota"
    assert "begins again at 2096-10-02T07:06:40Z" in answer.error["message"]
    assert answer.headers["retry-after"] == "3600"
    assert refused["BudgetSpent", "429"] == 1


async def test_the_router_itself_knows_when_the_window_is_over():
    """The operator may be gone by then."""
    now = [1000.0]
    loop = asyncio.get_running_loop()
    state = State(
        metrics=RouterMetrics("ns"), secrets=Secrets(), loop=loop, router=ROUTER, unix_s=lambda: now[0]
    )
    async with engines([reply(GOOD)]) as (api,):
        spent = route("StopEscalating", api, until_s=1060.0)
    state.config_maps_changed(config_map(RouteTable((spent,))), now_s=now[0])
    assert [step.stats.entry_share for step in state.fleet.lines["chat"].steps] == [1.0, 0.0]

    now[0] = 1059.0
    state.sweep(loop.time())
    assert state.fleet.lines["chat"].route.spent is not None

    now[0] = 1060.0
    state.sweep(loop.time())
    found = state.fleet.lines["chat"]
    assert found.route == replace(spent, spent=None)
    assert [step.stats.entry_share for step in found.steps] == [0.5, 0.5]
