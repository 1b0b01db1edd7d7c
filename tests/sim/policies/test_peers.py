"""The peers' laws on examples worked by hand from their documents and sources."""

from dataclasses import replace

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives
from modelfleet.sim.policies.peers import (
    Keda,
    Kpa,
    LlmdQueue,
    dynamo_floor,
    dynamo_step,
    epp_queue,
    keda,
    kpa,
    kpa_panics,
    slo_aware,
    wva_v1,
)
from tests.sim.policies.rows import CALM, seen

ENGINE, LENGTHS, GOALS = PROFILES["8b-h100"], Lengths(512, 128), Objectives(1.0, 0.05)


@pytest.mark.parametrize(
    ("waiting", "replicas", "wanted"),
    [
        pytest.param(0, 2, 0, id="nothing waits: nothing wanted, minReplicas keeps one"),
        pytest.param(11, 2, 2, id="a tenth over the target is within HPA's tolerance"),
        pytest.param(12, 2, 3, id="a fifth over is not"),
        pytest.param(10, 4, 2, id="exactly two replicas' worth"),
    ],
)
def test_keda(waiting: float, replicas: int, wanted: int):
    assert keda(waiting, 5, replicas) == wanted


def test_keda_takes_nothing_for_zero():
    blind = replace(seen(replace(CALM, wanted=4, engine_queue=20), now_s=400.0), lost=True)
    scaler = Keda()
    scaler.decide(seen(replace(CALM, wanted=4, engine_queue=20), now_s=0.0))

    assert scaler.decide(blind).replicas == {"small": 1}


@pytest.mark.parametrize(
    ("queue", "running", "replicas", "wanted"),
    [
        pytest.param(0, 33, 1, 3, id="33 running at 16 each"),
        pytest.param(5, 33, 1, 5, id="five queued outweigh them"),
        pytest.param(0, 17, 1, 1, id="one more than 16 is within the tolerance"),
        pytest.param(1, 4, 8, 1, id="one queued: the queue asks for one"),
    ],
)
def test_epp_queue(queue: float, running: float, replicas: int, wanted: int):
    assert epp_queue(queue, running, replicas) == wanted


def test_llmd_waits_for_300_s_on_the_way_up_too():
    scaler, burst = LlmdQueue(), replace(CALM, wanted=1, running=64)
    scaler.decide(seen(replace(burst, running=16), now_s=0.0))
    orders = [scaler.decide(seen(burst, now_s=at_s)).replicas["small"] for at_s in (15.0, 290.0, 305.0)]

    assert orders == [1, 1, 2]  # and then by 100 % at most


@pytest.mark.parametrize(
    ("signal", "replicas", "wanted"),
    [
        pytest.param(0.50, 4, 4, id="between the thresholds nothing happens"),
        pytest.param(0.66, 5, 6, id="a fifth over: a fifth more"),
        pytest.param(2.0, 3, 11, id="at the cap of the signal"),
        pytest.param(0.20, 4, 2, id="half of the lower threshold: half of the replicas"),
        pytest.param(0.39, 4, 4, id="a little below: less than a whole replica"),
    ],
)
def test_slo_aware(signal: float, replicas: int, wanted: int):
    assert slo_aware(signal, replicas) == wanted


@pytest.mark.parametrize(
    ("kv", "queues", "step"),
    [
        pytest.param([0.4, 0.4], [0, 0], 0, id="room for the load, not for one replica less"),
        pytest.param([0.2, 0.2, 0.2], [0, 0, 0], -1, id="two can carry what three have"),
        pytest.param([0.75, 0.75], [0, 0], 1, id="less than a tenth of the memory to spare"),
        pytest.param([0.3, 0.3], [3, 3], 1, id="fewer than three places in the queues to spare"),
        pytest.param([0.9, 0.1], [0, 0], 0, id="the last replica that is not full stays"),
        pytest.param([0.9, 0.9], [0, 0], 1, id="all are full"),
        pytest.param([], [], 0, id="no replica tells anything"),
    ],
)
def test_wva_v1(kv: list[float], queues: list[float], step: int):
    assert wva_v1(kv, queues) == step


# The first three are cases of Knative's own autoscaler_test.go, at a target of 10.
@pytest.mark.parametrize(
    ("stable", "burst", "ready", "panicking", "most", "wanted"),
    [
        pytest.param(100, 100, 10, False, 0, 10, id="already scaled: no change"),
        pytest.param(50, 100, 1, True, 0, 10, id="panic: the short window"),
        pytest.param(10, 10, 10, False, 0, 5, id="calm: down to half in one step at most"),
        pytest.param(20, 10, 2, True, 6, 6, id="in panic never fewer than before"),
        pytest.param(80, 40, 2, True, 6, 8, id="the long window counts in panic, too"),
    ],
)
def test_kpa(stable: float, burst: float, ready: int, panicking: bool, most: int, wanted: int):  # noqa: FBT001, PLR0917
    assert kpa(stable, burst, ready, target=10.0, panicking=panicking, most=most) == wanted


@pytest.mark.parametrize(
    ("burst", "ready", "panics"),
    [
        pytest.param(70, 1, False, id="one replica's worth"),
        pytest.param(71, 1, True, id="whole replicas count: a little more than one is two"),
        pytest.param(280, 2, True, id="twice what is ready"),
        pytest.param(210, 2, False, id="once and a half"),
    ],
)
def test_kpa_panics(burst: float, ready: int, panics: bool):  # noqa: FBT001
    assert kpa_panics(burst, ready, target=70.0) == panics


def test_kpa_begins_in_panic_and_keeps_what_runs():
    scaler, idle = Kpa(), replace(CALM, wanted=4, ready=4, in_flight=0)
    orders = [scaler.decide(seen(idle, now_s=at_s)).replicas["small"] for at_s in (0.0, 60.0, 62.0)]

    assert orders == [4, 4, 2]


def test_dynamos_floor_is_the_rate_by_what_an_engine_carries():
    # 256 sequences are full at 52 requests per second, see plan/sizing.
    assert dynamo_floor(44.0, ENGINE, LENGTHS, GOALS) == 1
    assert dynamo_floor(110.0, ENGINE, LENGTHS, GOALS) == 3


@pytest.mark.parametrize(
    ("rate", "ready", "step"),
    [
        pytest.param(107.0, 3, 0, id="two would carry it only just"),
        pytest.param(60.0, 3, -1, id="two would carry it well"),
        pytest.param(150.0, 2, 1, id="both miss their goals"),
        pytest.param(1.0, 1, 0, id="the last one stays"),
    ],
)
def test_dynamos_fast_step(rate: float, ready: int, step: int):
    assert dynamo_step(rate, ready, ENGINE, LENGTHS, GOALS) == step


def test_dynamos_fast_step_keeps_the_memory():
    long = Lengths(6000, 2000)
    small = replace(ENGINE, kv_tokens=30_000)

    assert dynamo_step(0.5, 2, ENGINE, long, Objectives(10.0, 0.05)) == -1
    assert dynamo_step(0.5, 2, small, long, Objectives(10.0, 0.05)) == 0
