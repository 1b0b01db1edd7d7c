from prometheus_client import CollectorRegistry

from modelfleet.control.capacity.controls_metrics import ControlsMetrics
from modelfleet.plan.snapshot import Pool

TIER, CHAT = ("ns", "small"), ("ns", "chat")
PREFIX = "modelfleet_operator_"


def shown(registry: CollectorRegistry) -> dict[str, float]:
    return {
        f"{sample.name.removeprefix(PREFIX)} {' '.join(sample.labels.values())}": sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_what_is_over_is_not_shown_any_more():
    registry = CollectorRegistry()
    metrics = ControlsMetrics(registry)
    metrics.show_plan(TIER, 4)
    metrics.show_thresholds(CHAT, {"s": -0.5, "m": -0.25})
    metrics.show_pools({"gpu": 3}, {"gpu": Pool(8)})

    assert shown(registry) == {
        "would_be_replicas ns small": 4,
        "accept_threshold ns chat s": -0.5,
        "accept_threshold ns chat m": -0.25,
        "node_pool_units gpu": 3,
        "node_pool_units_max gpu": 8,
    }

    metrics.show_plan(TIER, None)
    metrics.show_thresholds(CHAT, {"s": -0.4})
    metrics.show_pools({}, {})

    assert shown(registry) == {"accept_threshold ns chat s": -0.4}


def test_objects_that_are_gone_take_their_gauges_with_them():
    registry = CollectorRegistry()
    metrics = ControlsMetrics(registry)
    metrics.show_plan(TIER, 4)
    metrics.show_thresholds(CHAT, {"s": -0.5})

    metrics.keep_only(tiers=[TIER], cascades=[CHAT])
    kept = shown(registry)
    metrics.keep_only(tiers=[], cascades=[])

    assert len(kept) == 2
    assert shown(registry) == {}
