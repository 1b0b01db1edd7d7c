import math
from typing import Any

import pytest

from modelfleet.api.scaling import ScalingMetric
from modelfleet.control.capacity.readings import Expected, Readings, queue_target, target_value
from modelfleet.plan.asked import Answer
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import FleetLoad, TierLoad
from modelfleet.plan.snapshot import Idle, Missing, Name, Reading, Sample, Target
from tests.make import tier

SMALL = Name("team", "small")
FAST = Buckets((0.01, 0.05, math.inf), (0.0, 100.0, 100.0))
NOTHING = Buckets((0.01, math.inf), (0.0, 0.0))


def metric(kind: str, target: Any, **more: Any) -> ScalingMetric:
    return ScalingMetric.model_validate({"name": "m", "type": kind, "target": target, **more})


def readings(load: TierLoad, *, routers: int = 2, replicas: int = 3, **answers: Answer) -> Readings:
    return Readings(
        FleetLoad(tiers={SMALL: load}, started={}, answered={}),
        Expected(routers=lambda _: routers, replicas=lambda _: replicas),
        taken_ago_s=2.0,
        answers=answers,
    )


ITL = metric("ITL", "40ms", percentile=50)
KV = metric("KVCache", 80)
READ = {
    "itl: the quantile, as old as the oldest router": (
        TierLoad(itl=FAST, age_s=3.0, routers=2),
        ITL,
        0.04,
        Sample(0.03, age_s=5.0, complete=True),
    ),
    "itl of an idle tier": (TierLoad(itl=NOTHING, age_s=3.0, routers=2), ITL, 0.04, Idle()),
    "itl, a router is missing": (TierLoad(itl=NOTHING, age_s=3.0, routers=1), ITL, 0.04, Missing()),
    "itl that nobody measures": (TierLoad(age_s=3.0, routers=2), ITL, 0.04, Missing()),
    "kv of all replicas": (TierLoad(kv_used=0.9, engines=3), KV, 0.8, Sample(0.9, age_s=2.0, complete=True)),
    "kv, a replica did not say": (
        TierLoad(kv_used=0.9, engines=2),
        KV,
        0.8,
        Sample(0.9, age_s=2.0, complete=False),
    ),
    "kv that nobody tells": (TierLoad(), KV, 0.8, Missing()),
}


@pytest.mark.parametrize(("load", "asked", "value", "want"), READ.values(), ids=READ)
def test_target(load: TierLoad, asked: ScalingMetric, value: float, want: Reading):
    got = readings(load).target(SMALL, asked)

    assert got.value == value
    if isinstance(want, Sample):
        assert isinstance(got.reading, Sample)
        assert got.reading.value == pytest.approx(want.value)
        assert (got.reading.age_s, got.reading.complete) == (want.age_s, want.complete)
    else:
        assert got.reading == want


def test_an_answer_to_the_users_query_is_its_reading_or_the_reason_for_none():
    mine = metric("PromQL", "2.5", query="jobs")

    assert readings(TierLoad(), jobs=Answer(9.0)).target(SMALL, mine) == Target(
        "m", "PromQL", 2.5, Sample(9.0, age_s=2.0, complete=True)
    )
    assert readings(TierLoad(), jobs=Answer(problem="parse error")).target(SMALL, mine) == Target(
        "m", "PromQL", 2.5, Missing(), "parse error"
    )
    assert readings(TierLoad()).target(SMALL, mine).problem == "not asked yet"


VALUES = {
    "a latency is seconds": (metric("TTFT", "500ms"), 0.5),
    "percent are a share": (KV, 0.8),
    "an amount": (metric("Queue", "0.5"), 0.5),
    "no number at all": (metric("Queue", "many"), None),
    "no duration": (metric("ITL", 40), None),
    "nothing": (metric("Concurrency", 0), None),
}


@pytest.mark.parametrize(("asked", "want"), VALUES.values(), ids=VALUES)
def test_target_value(asked: ScalingMetric, want: float | None):
    assert target_value(asked) == want


def test_a_target_without_meaning_measures_nothing():
    assert readings(TierLoad(in_flight=3.0)).target(SMALL, metric("Queue", "many")) == Target(
        "m", "Queue", math.inf, Missing()
    )


def test_queue_target_is_the_tier_s_own_or_one():
    queue = {"name": "q", "type": "Queue", "target": "2.5"}

    assert queue_target(tier(scaling={"maxReplicas": 4, "metrics": [queue]})) == 2.5
    assert queue_target(tier(scaling={"maxReplicas": 4})) == 1.0
    assert queue_target(None) == 1.0


SILENT = {
    "none of three": (0, True, "all"),
    "none, and none has to": (0, False, ""),
    "one of three": (1, True, "some"),
    "one of three, and none has to: what the others hold is unknown": (1, False, "some"),
    "all three": (3, True, ""),
    "one that is going still tells": (4, True, ""),
}


@pytest.mark.parametrize(("engines", "must_tell", "silent"), SILENT.values(), ids=SILENT)
def test_engines_that_do_not_tell(engines: int, must_tell: bool, silent: str):  # noqa: FBT001  a row of the table
    assert readings(TierLoad(engines=engines)).engines_silent(SMALL, must_tell=must_tell) == silent
