import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.key import Key
from modelfleet.control.capacity.metrics import CapacityMetrics
from modelfleet.control.metrics import StructureMetrics
from tests.make import SETTINGS

KEY = Key("ModelTier", "ns", "a")
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
LABELS = {
    "ModelTier": ("fleet_namespace", "model_tier"),
    "Cascade": ("fleet_namespace", "cascade"),
    "step": ("fleet_namespace", "cascade", "tier"),
}


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


def test_page_of_metrics_is_true():
    """docs/metrics.md names every metric of the operator with its type and labels, and no other."""
    registry = CollectorRegistry()
    StructureMetrics(registry)
    CapacityMetrics(registry)
    rows = re.findall(
        r"^\| `(modelfleet_operator_\w+)` \| (\w+) \|(.*?)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {
        name.removesuffix("_total"): (
            kind,
            *(label for word in re.findall(r"\*(\w+)\*", labels) for label in LABELS[word]),
            *re.findall(r"`(\w+)`", labels),
        )
        for name, kind, labels in rows
    }

    assert told == {
        instrument._name: (instrument._type, *instrument._labelnames)
        for instrument in registry._collector_to_names
    }
