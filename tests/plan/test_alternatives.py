"""What else a look could have meant."""

from dataclasses import replace

from modelfleet.plan.alternatives import alternatives
from modelfleet.plan.planner import Settings
from tests.plan.calm_look import CALM, SMALL, STEADY


def test_each_is_told_with_its_price():
    found = {one.what: one for one in alternatives(CALM, STEADY, Settings())}

    assert found["as it runs"].replicas == (4, 4)
    assert found["as it runs"].price == 4 * 1.0 + 4 * 4.0
    assert found["each tier for its own peak"].price >= found["what the load asks for"].price
    assert found["objectives twice as loose"].price <= found["what the load asks for"].price
    assert found["no room for bursts"].price <= found["what the load asks for"].price


def test_one_tier_has_no_peak_to_share():
    alone = replace(CALM, tiers=(replace(SMALL, share=1.0),))

    assert "each tier for its own peak" not in {one.what for one in alternatives(alone, STEADY, Settings())}
