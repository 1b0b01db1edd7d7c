"""The peers' laws on examples worked by hand from their documents and sources."""

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives
from modelfleet.sim.policies.peers import dynamo_floor, dynamo_step, epp_queue, keda, kpa, slo_aware, wva_v1

ENGINE, LENGTHS, GOALS = PROFILES["8b-h100"], Lengths(512, 128), Objectives(1.0, 0.05)


@pytest.mark.parametrize(
    ("waiting", "target", "replicas"),
    [
        pytest.param(0, 5, 0, id="nothing waits: nothing wanted, minReplicas keeps one"),
        pytest.param(11, 5, 3, id="eleven wait at five each"),
        pytest.param(10, 5, 2, id="exactly two replicas' worth"),
    ],
)
def test_keda(waiting: float, target: float, replicas: int):
    assert keda(waiting, target) == replicas


@pytest.mark.parametrize(
    ("queue", "running", "replicas"),
    [
        pytest.param(0, 33, 3, id="33 running at 16 each"),
        pytest.param(5, 33, 5, id="five queued outweigh them"),
    ],
)
def test_epp_queue(queue: float, running: float, replicas: int):
    assert epp_queue(queue, running) == replicas


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


@pytest.mark.parametrize(
    ("stable", "burst", "ready", "panicking", "most", "wanted"),
    [
        pytest.param(140, 140, 2, False, 0, 2, id="calm: the stable window"),
        pytest.param(20, 0, 4, False, 0, 2, id="never below half in one step"),
        pytest.param(140, 560, 2, True, 0, 8, id="panic: the short window"),
        pytest.param(140, 70, 2, True, 6, 6, id="in panic never fewer than before"),
    ],
)
def test_kpa(stable: float, burst: float, ready: int, panicking: bool, most: int, wanted: int):  # noqa: FBT001, PLR0917
    assert kpa(stable, burst, ready, target=70.0, panicking=panicking, most=most) == wanted


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
