"""Whether a reading between two looks is a reason to look at once."""

import pytest

from modelfleet.plan.emergency import AGAIN_S, due, full_tiers
from modelfleet.plan.load import FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name

SMALL = Name("ns", "small")


@pytest.mark.parametrize(
    ("tier", "ready", "is_full"),
    [
        pytest.param(TierLoad(waiting_router=3.0, waiting_engines=1.0), 1, False, id="calm: a few wait"),
        pytest.param(
            TierLoad(waiting_router=3.0, waiting_engines=2.0), 1, True, id="five wait for one replica"
        ),
        pytest.param(TierLoad(waiting_router=9.0), 2, False, id="nine wait for two"),
        pytest.param(TierLoad(waiting_router=5.0), 0, True, id="five wait, and none is ready"),
        pytest.param(TierLoad(kv_used=0.8), 4, True, id="the memory of one of four is full"),
        pytest.param(TierLoad(), 1, False, id="nobody tells anything"),
    ],
)
def test_a_tier_is_full(*, tier: TierLoad, ready: int, is_full: bool):
    load = FleetLoad(tiers={SMALL: tier}, started={}, answered={})

    assert full_tiers(load, {SMALL: ready}) == (frozenset({SMALL}) if is_full else frozenset())


def test_a_tier_that_cannot_grow_is_no_emergency():
    load = FleetLoad(tiers={SMALL: TierLoad(kv_used=1.0)}, started={}, answered={})

    assert full_tiers(load, {}) == frozenset()


def test_one_look_of_its_own_a_minute():
    full = frozenset({SMALL})

    assert due(full, {}, now_s=1000.0) == full
    assert due(full, {SMALL: 1000.0}, now_s=1000.0 + AGAIN_S - 1) == frozenset()
    assert due(full, {SMALL: 1000.0}, now_s=1000.0 + AGAIN_S) == full
