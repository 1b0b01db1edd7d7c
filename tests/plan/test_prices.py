"""What a replica costs, by whoever says it."""

from typing import Any

import pytest

from modelfleet.plan.prices import replica_hour_usd
from tests.make import SETTINGS, tier

CASES: dict[str, tuple[dict[str, Any], float | None]] = {
    "nobody says anything": ({}, None),
    "its node pool does, by the unit": ({"nodePool": {"name": "gpu-l4", "count": 2}}, 1.42),
    "the tier itself goes before its pool": (
        {"nodePool": {"name": "gpu-l4"}, "price": {"perReplicaHour": "2.5"}},
        2.5,
    ),
    "a pool that nobody described": ({"nodePool": {"name": "gone"}}, None),
    "tokens are no replicas": (
        {"price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"}},
        None,
    ),
    "one that is free is no mystery": ({"price": {"perReplicaHour": "0"}}, 0.0),
}


@pytest.mark.parametrize(("spec", "want"), CASES.values(), ids=CASES)
def test_replica_hour(spec: dict[str, Any], want: float | None):
    assert replica_hour_usd(tier(**spec), SETTINGS) == want
