"""What people are shown of the router's mind."""

import asyncio

import orjson

from modelfleet.route.health import OUT_S
from modelfleet.router.service import Insight
from tests.router.rig import GOOD, one_tier, post, reply


async def test_debug_table_says_why_a_replica_is_out():
    async with one_tier([reply({}, status=500)], [reply(GOOD)], concurrency=8) as (rig, found):
        pool = rig.state.fleet.lines["chat"].steps[0].pool
        while not pool.stats.out:
            await rig.ask(post())
        loop = asyncio.get_running_loop()
        insight = Insight(rig.state, rig.state.metrics.registry(), loop=loop)
        rig.server.on_request = insight.on_request
        answer = await rig.ask(b"GET /debug/table HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n")

        seen = orjson.loads(answer.body)
        assert seen["cascades"][0]["tiers"][0]["modelTier"] == "small-mt"
        (shown,) = seen["modelTiers"]
        states = {replica["address"]: replica for replica in shown["replicas"]}
        sick = next(state for state in states.values() if state["state"] == "Out")
        well = next(state for state in states.values() if state["state"] == "In")
        assert set(states) == {f"127.0.0.1:{engine.port}" for engine in found}
        assert (sick["reason"], sick["room"], well["room"]) == ("ConsecutiveFailures", 0, 8)
        assert 0 < sick["probedInSeconds"] <= OUT_S * 1.2
