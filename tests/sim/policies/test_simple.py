"""HPA v2's arithmetic, on the worked examples of its documents."""

from dataclasses import replace

import pytest

from modelfleet.sim.policies.simple import Damper, Hpa, KubeAi, average_value, label
from tests.sim.policies.rows import CALM, seen


@pytest.mark.parametrize(
    ("wishes", "orders"),
    [
        pytest.param([(0, 8)], [8], id="up by four pods or double at once: four to eight"),
        pytest.param([(0, 20)], [8], id="and not by more"),
        pytest.param([(0, 20), (5, 20)], [8, 8], id="not twice in a period"),
        pytest.param([(0, 20), (20, 20)], [8, 16], id="again after it"),
        pytest.param([(0, 4), (100, 2)], [4, 4], id="down only when all of 300 s agree"),
        pytest.param([(0, 4), (301, 2)], [4, 2], id="and then at once"),
    ],
)
def test_damper(wishes: list[tuple[float, int]], orders: list[int]):
    damper, current, found = Damper(), 4, []
    for at_s, wish in wishes:
        current = damper.settle(at_s, current, wish)
        found.append(current)

    assert found == orders


def test_one_pod_down_in_two_minutes():
    damper = Damper(down_window_s=0.0, down_pods=1, down_period_s=120.0)

    assert [damper.settle(at_s, now, 1) for at_s, now in ((0.0, 5), (60.0, 4), (121.0, 4))] == [4, 4, 3]


def test_targets_by_tier_have_a_name():
    assert (label(16.0), label({"small": 200.4, "big": 50})) == ("16", "200/50")


# The first two are the example of Kubernetes' documents: 200m of 100m doubles, 50m of 100m halves.
@pytest.mark.parametrize(
    ("per_replica", "replicas", "wanted"),
    [
        pytest.param(0.2, 4, 8, id="twice the target: twice the replicas"),
        pytest.param(0.05, 4, 2, id="half of it: half of them"),
        pytest.param(0.11, 10, 10, id="a tenth over: within the tolerance"),
        pytest.param(0.09, 10, 10, id="a tenth under, too"),
        pytest.param(0.111, 10, 12, id="a little more than a tenth over"),
        pytest.param(0.0, 3, 0, id="nothing at all"),
    ],
)
def test_average_value(per_replica: float, replicas: int, wanted: int):
    assert average_value(per_replica * replicas, 0.1, replicas) == wanted


def test_a_period_begins_with_what_was_there_whatever_changed_since():
    damper = Damper(down_window_s=0.0)
    went = damper.settle(0.0, 8, 2)

    assert went == 2
    assert damper.settle(5.0, 2, 20) == 16  # twice the eight of fifteen seconds ago


def test_hpa_holds_without_data():
    hpa = Hpa(10.0)

    assert hpa.decide(replace(seen(), lost=True)).replicas == {}
    assert hpa.decide(seen(replace(CALM, in_flight=60))).replicas == {"small": 6}


def test_kubeai_goes_down_at_the_fourth_look_that_agrees():
    scaler, quiet = KubeAi(10.0, window_s=10.0), replace(CALM, wanted=3, in_flight=5)
    orders = [scaler.decide(seen(quiet)).replicas["small"] for _ in range(5)]

    assert orders == [3, 3, 3, 1, 1]


def test_kubeai_shipped_needs_ten_minutes_to_believe_a_burst():
    scaler, burst = KubeAi(), replace(CALM, wanted=1, in_flight=300)
    orders = [scaler.decide(seen(burst)).replicas["small"] for _ in range(60)]

    assert (orders[19], orders[20], orders[59]) == (1, 2, 3)
