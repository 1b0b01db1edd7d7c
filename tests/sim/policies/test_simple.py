"""HPA v2's arithmetic, on the worked examples of its documents."""

import pytest

from modelfleet.sim.policies.simple import Damper, label


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
