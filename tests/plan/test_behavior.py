from modelfleet.api.scaling import ScalingBehavior
from modelfleet.plan.behavior import Policy, behavior


def test_defaults_are_those_of_hpa_v2():
    got = behavior(ScalingBehavior())

    assert (got.up.window_s, got.down.window_s) == (0.0, 300.0)
    assert got.up.policies == (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0))
    assert got.down.policies == (Policy("Percent", 100, 15.0),)
    assert got.up.tolerance == got.down.tolerance == 0.1
    assert got.up.select == got.down.select == "Max"


def test_a_field_that_is_set_wins_and_the_others_stay():
    spec = {
        "scaleUp": {"tolerance": "0.2"},
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Disabled",
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 600}],
        },
    }
    got = behavior(ScalingBehavior.model_validate(spec))

    assert (got.up.tolerance, got.down.tolerance) == (0.2, 0.1)
    assert (got.down.window_s, got.down.select) == (0.0, "Disabled")
    assert got.memory_s == 600.0
