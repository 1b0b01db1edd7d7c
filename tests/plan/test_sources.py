from dataclasses import replace

import pytest

from modelfleet.plan.load import CascadeLoad, FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name
from modelfleet.plan.sources import merged

SMALL, CHAT = Name("team", "small"), Name("team", "chat")
STORED = TierLoad(
    in_flight=4.0, age_s=5.0, routers=2, engines=3, kv_used=0.5, waiting_engines=1.0, cached_share=0.2
)
READ = replace(STORED, in_flight=5.0, age_s=1.0, cached_share=None, kv_used=0.6, source="Direct")
CASES = {
    "both know as much: the store": (STORED, READ, STORED),
    "the store is silent about it": (None, READ, READ),
    "nobody but the store": (STORED, None, STORED),
    "the store has not found a router yet": (replace(STORED, routers=1), READ, READ),
    "what the store has is old": (replace(STORED, age_s=61.0), READ, READ),
    "both are old: the store": (replace(STORED, age_s=61.0), replace(READ, age_s=70.0), replace(STORED, age_s=61.0)),
    "the store's age is none": (replace(STORED, age_s=None), READ, READ),
    "the store scrapes no engines: theirs are read directly": (
        replace(STORED, engines=0, kv_used=None, waiting_engines=None),
        READ,
        replace(STORED, kv_used=0.6),
    ),
}  # fmt: skip


def fleet(tier: TierLoad | None) -> FleetLoad:
    return FleetLoad({SMALL: tier} if tier else {}, {}, {})


@pytest.mark.parametrize(("store", "direct", "want"), CASES.values(), ids=CASES)
def test_merged(store: TierLoad | None, direct: TierLoad | None, want: TierLoad):
    assert merged(fleet(store), fleet(direct)).tiers == {SMALL: want}


def test_cascades_and_the_last_hour():
    stored = CascadeLoad(age_s=5.0, routers=1, arrived=3.0)
    read = CascadeLoad(age_s=1.0, routers=2, arrived=4.0, source="Direct")
    store = FleetLoad({}, {CHAT: {"s": 500.0}}, {}, {CHAT: stored}, since_s=12.0)
    direct = FleetLoad(
        {}, {CHAT: {"s": 5.0}, SMALL: {"s": 1.0}}, {CHAT: {"s": 4.0}}, {CHAT: read}, since_s=12.0
    )

    both = merged(store, direct)

    assert both.cascades == {CHAT: read}
    assert both.started == {CHAT: {"s": 500.0}, SMALL: {"s": 1.0}}
    assert both.answered == {CHAT: {"s": 4.0}}
    assert both.since_s == 12.0
