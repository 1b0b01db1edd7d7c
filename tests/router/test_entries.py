"""Where requests enter moves from second to second, and outlives the table."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import LastHour, RouterRules, RouteTable, TierRoute
from modelfleet.route.bank import Bank
from modelfleet.router import debug, entries
from modelfleet.router.state import State
from tests.router.entry_rig import BIG, CHAT, LAWFUL, SMALL, only, shares, state_of
from tests.router.rig import GOOD, config_map, engines, post, reply, router, tier


def spend(state: State, seconds: int = 1) -> None:
    for _ in range(seconds):
        entries.spend(state.fleet.lines.values(), routers=state.rules.routers, seconds=1.0)


def came(state: State, small: int, big: int) -> None:
    for step, count in zip(only(state).steps, (small, big), strict=True):
        step.stats.started += count
        step.stats.answered += count


async def test_without_a_law_entries_are_the_tables():
    state = await state_of(replace(CHAT, owed_permille=None))
    spend(state)

    assert only(state).law is None
    assert only(state).bounds == (1000, 1000)
    assert shares(state) == [1.0, 0.0]


async def test_with_one_they_are_what_is_owed():
    state = await state_of(CHAT)
    assert shares(state) == [1.0, 0.0]  # until its first second
    spend(state)

    assert shares(state) == [0.7, 0.3]
    assert only(state).bounds == (700_000, 1_000_000)


async def test_a_router_that_begins_goes_on_from_what_is_owed():
    owing = replace(CHAT, last_hour=LastHour(answers=36_000, ahead_permille=-15))
    state = await state_of(owing, rules=RouterRules(routers=4))
    spend(state)

    law = only(state).law
    assert law is not None
    assert law.bank.balance == pytest.approx(-0.015 * 9_000)
    assert law.bank.hour == pytest.approx(9_000, rel=0.001)


async def test_one_that_is_there_goes_on_from_its_own_account():
    state = await state_of(CHAT)
    spend(state)
    told = replace(CHAT, last_hour=LastHour(answers=36_000, ahead_permille=-15))
    state.config_maps_changed(config_map(RouteTable((told,)), version="2"), now_s=2.0)
    spend(state)

    law = only(state).law
    assert law is not None
    assert law.bank == Bank()


async def test_a_tier_without_replicas_gets_none():
    state = await state_of(CHAT, replicas=(2, 0))
    spend(state)
    came(state, 10, 0)
    spend(state)

    assert shares(state) == [1.0, 0.0]


async def test_the_users_bounds_hold():
    state = await state_of(replace(CHAT, tiers=(SMALL, replace(BIG, most_permille=50))))
    spend(state)

    assert shares(state) == [0.95, 0.05]


async def test_a_new_table_changes_what_is_owed_and_forgets_nothing():
    state = await state_of(CHAT)
    spend(state)
    for _ in range(60):
        came(state, 40, 0)  # nothing is answered where it is owed
        spend(state)
    before = only(state).law
    moved = shares(state)
    state.config_maps_changed(
        config_map(RouteTable((replace(CHAT, owed_permille=200),)), version="2"), now_s=2.0
    )

    assert only(state).law is before
    assert before is not None
    assert before.bank.balance < 0
    assert shares(state) == moved

    state.config_maps_changed(
        config_map(RouteTable((replace(CHAT, owed_permille=None),)), version="3"), now_s=3.0
    )
    assert shares(state) == [1.0, 0.0]


HUGE = replace(tier("huge", weight=0), **LAWFUL)


@pytest.mark.parametrize(
    "others", [(replace(BIG, weight_permille=1000), replace(SMALL, weight_permille=0)), (SMALL, HUGE)]
)
async def test_other_tiers_or_another_order_begin_anew(others: tuple[TierRoute, ...]):
    """What the last tier owes, or was given, is no debt of the one in its place."""
    state = await state_of(CHAT)
    spend(state)
    for _ in range(60):
        came(state, 40, 0)
        spend(state)
    state.config_maps_changed(config_map(RouteTable((replace(CHAT, tiers=others),)), version="2"), now_s=2.0)

    assert shares(state) == [1.0, 0.0]  # as the table says
    law = only(state).law
    assert law is not None
    assert law.bank == Bank()
    spend(state)
    assert law.bank == Bank()


async def test_each_router_counts_on_its_part_of_the_replicas():
    alone = await state_of(CHAT)
    one_of_four = await state_of(CHAT, rules=RouterRules(routers=4))
    for state in (alone, one_of_four):
        spend(state)
        for _ in range(30):
            came(state, 14, 6)  # a second: twenty are what two replicas of small carry
            spend(state)

    assert shares(one_of_four)[1] > shares(alone)[1]


async def test_it_moves_by_the_clock_of_the_router():
    state = await state_of(CHAT)
    now_s = asyncio.get_running_loop().time()
    state.sweep(now_s + 0.5)
    assert shares(state) == [1.0, 0.0]

    state.sweep(now_s + 1.5)
    assert shares(state) == [0.7, 0.3]


async def test_the_debug_page_shows_it():
    state = await state_of(CHAT)
    spend(state)
    came(state, 5, 5)
    spend(state)
    told: dict[str, Any] = orjson.loads(debug.table(state, now_s=0.0))["cascades"][0]

    assert told["law"]["owedPermille"] == 300
    assert told["law"]["balanceRequests"] > 0
    assert sum(one["entryShare"] for one in told["tiers"]) == pytest.approx(1.0, abs=0.001)


async def test_requests_enter_by_it():
    async with engines(*([reply(GOOD)] * 5 for _ in range(2))) as (small, big):
        found = replace(CHAT, owed_permille=1000)
        async with router(found, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            spend(rig.state)
            answers = [await rig.ask(post()) for _ in range(5)]

    assert {answer.headers["x-modelfleet-tier"] for answer in answers} == {"big"}
