from prometheus_client import CollectorRegistry

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.key import Key
from modelfleet.control.metrics import StructureMetrics
from tests.make import SETTINGS

KEY = Key("ModelTier", "ns", "a")


def test_reconciles_and_failures_are_counted():
    registry = CollectorRegistry()
    metrics = StructureMetrics(registry)

    metrics.reconciled(KEY, 0.1, 0)
    metrics.reconciled(KEY, 0.1, 1)

    labels = {"kind": "ModelTier"}
    assert registry.get_sample_value("modelfleet_operator_reconcile_seconds_count", labels) == 2
    assert registry.get_sample_value("modelfleet_operator_reconcile_failures_total", labels) == 1


def test_prices_of_pools_are_those_of_the_settings_in_force():
    registry = CollectorRegistry()
    metrics = StructureMetrics(registry)
    name, labels = "modelfleet_operator_node_pool_price_per_hour", {"node_pool": "gpu-l4"}

    metrics.settings(SETTINGS)
    assert registry.get_sample_value(name, labels) == 0.71

    metrics.settings(FleetSettings())
    assert registry.get_sample_value(name, labels) is None
