"""Operators are called when a request needs a tier that sleeps, until one has heard it."""

import pytest

from modelfleet.api.route_table import RouterRules
from tests.router.cold_rig import cold, operators, waiting
from tests.router.rig import GOOD, engines, post, raw, reply, slices, until

CALL = b'POST /wake HTTP/1.1 {"namespace":"ns","modelTier":"small-mt"}'


async def test_all_operators_are_called_with_the_first_request():
    async with operators([409], [202]) as (calls, rules), cold(rules=rules) as rig:
        tasks = await waiting(rig, 3)
        await until(lambda: len(calls) >= 2)

        assert set(calls) == {CALL}
        assert rig.state.metrics.wake_calls["NotLeader"] >= 1
        assert rig.state.metrics.wake_calls["Accepted"] >= 1
        for task in tasks:
            task.cancel()


UNHEARD = {
    "between two leaders": [409, 409, 202],
    "called too often": [429, 202],
    "no operator of ours": [500, 404],
}


@pytest.mark.parametrize("statuses", UNHEARD.values(), ids=UNHEARD)
async def test_a_call_is_repeated_until_it_is_heard(statuses: list[int]):
    async with operators(statuses) as (calls, rules), cold(rules=rules) as rig:
        (task,) = await waiting(rig, 1)
        await until(lambda: len(calls) == len(statuses))
        task.cancel()


async def test_dead_and_wrong_operators_stop_nobody():
    async with operators([202]) as (calls, rules), engines([raw(b"what?\r\n\r\n")]) as (wrong,):
        wake = ("127.0.0.1:1", "nowhere.invalid:80", "no port", f"127.0.0.1:{wrong.port}", *rules.wake)
        async with cold(rules=RouterRules(wake=wake)) as rig:
            (task,) = await waiting(rig, 1)
            await until(lambda: CALL in calls)
            await until(lambda: rig.state.metrics.wake_calls["Unreachable"] >= 1)
            task.cancel()


async def test_nobody_is_called_any_more_when_the_tier_answers():
    async with (
        operators([202]) as (calls, rules),
        engines([reply(GOOD)]) as (engine,),
        cold(rules=rules) as rig,
    ):
        (task,) = await waiting(rig, 1)
        await until(lambda: len(calls) == 1)
        rig.state.endpoint_slices_changed(slices({"small-svc": [engine.port]}))
        await task
        await rig.ask(post())

        assert len(calls) == 1
