from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.route_table import decode
from modelfleet.desired import table
from tests.make import cascade, external_tier, tier

SMALL, MEDIUM, FRONTIER = tier("small"), tier("medium"), external_tier()
TIERS = {"small": SMALL, "medium": MEDIUM, "frontier": FRONTIER}
STEPS = [
    {"name": name, "tierRef": {"name": name}, "weight": {"initial": weight}}
    for name, weight in (("small", 70), ("medium", 20), ("frontier", 10))
]
SUSPENDED = tier("small", suspend=True)


def decided(**weights: int) -> dict[str, Any]:
    return {"tiers": [{"name": name, "weight": weight} for name, weight in weights.items()]}


WEIGHTS = {
    "nothing decided: the initial weights": (cascade(tiers=STEPS), TIERS, (700, 200, 100)),
    "decided: the decision": (
        cascade(tiers=STEPS, status=decided(small=0, medium=900, frontier=100)),
        TIERS,
        (0, 900, 100),
    ),
    "decided but Fixed: the initial weights": (
        cascade(tiers=STEPS, weights={"mode": "Fixed"}, status=decided(small=0, medium=900, frontier=100)),
        TIERS,
        (700, 200, 100),
    ),
    "decided for other steps: the initial weights": (
        cascade(tiers=STEPS, status=decided(small=500, old=500)),
        TIERS,
        (700, 200, 100),
    ),
    "a tier is gone: its share falls to the others": (
        cascade(tiers=STEPS),
        {"medium": MEDIUM, "frontier": FRONTIER},
        (667, 333),
    ),
    "a tier is suspended: its share falls to the others": (
        cascade(tiers=STEPS),
        {**TIERS, "small": SUSPENDED},
        (667, 333),
    ),
    "the only tier with a share is gone: the cheapest of the others has it": (
        cascade(tiers=[{k: v for k, v in step.items() if k != "weight"} for step in STEPS]),
        {"medium": MEDIUM, "frontier": FRONTIER},
        (1000, 0),
    ),
}


@pytest.mark.parametrize(("owner", "tiers", "want"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(owner: Any, tiers: Any, want: tuple[int, ...]):
    route = table.cascade_route(owner, tiers)

    assert route is not None
    assert tuple(tier.weight_permille for tier in route.tiers) == want


def test_no_tier_left_means_no_route():
    assert table.cascade_route(cascade(), {}) is None
    assert table.table([cascade()], {}).cascades == ()


def test_the_older_cascade_keeps_a_model_name():
    young = cascade("a-young", created="2026-02-01T00:00:00Z")
    old = cascade("z-old", created="2026-01-01T00:00:00Z")

    got = table.accepted([young, old])

    assert [each.metadata.name for each in got.cascades] == ["z-old"]
    assert got.conflicts == {"a-young": "z-old"}


def test_the_router_reads_what_is_written():
    routes = table.table([cascade()], TIERS)
    stored = {"data": {names.ROUTE_TABLE_KEY: table.json.dumps(table.encode(routes))}}

    assert decode(table.json.loads(stored["data"][names.ROUTE_TABLE_KEY])) == routes
    assert table.stored_cascades(stored) == {"chat": table.encoded(routes.cascades[0])}


def test_a_frozen_cascade_stays_as_it_was():
    before = table.table([cascade()], TIERS)
    stored = {"data": {names.ROUTE_TABLE_KEY: table.json.dumps(table.encode(before))}}
    changed = cascade(limits={"deadline": "5s"})

    got = table.table([changed], TIERS, frozen={"chat"}, stored=stored)

    assert got == before


@pytest.mark.parametrize("broken", [{}, {"data": {}}, {"data": {names.ROUTE_TABLE_KEY: "{"}}])
def test_a_broken_table_holds_nothing(broken: dict[str, Any]):
    assert table.stored_cascades(broken) == {}
    assert table.table([cascade()], TIERS, frozen={"chat"}, stored=broken).cascades == ()


def test_an_external_tier_is_reached_with_the_files_mounted_for_it():
    route = table.cascade_route(cascade(), TIERS)

    assert route is not None
    target = route.tiers[1].external
    assert target is not None
    assert target.api_key_file == "/etc/modelfleet/external/frontier-tier/api-key"
    assert target.ca_file == "/etc/modelfleet/external/frontier-tier/ca.crt"
    assert (route.tiers[0].service, route.tiers[0].external) == ("small-tier", None)
