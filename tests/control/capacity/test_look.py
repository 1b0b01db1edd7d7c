"""What the planner is shown of a group: whole, or not at all."""

from dataclasses import replace
from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.control.capacity.look import Sight, look_at, starting
from modelfleet.control.capacity.memory import Memory, Store
from modelfleet.control.capacity.observe import Observed, Pods, snapshot
from modelfleet.plan.group import groups
from modelfleet.plan.learned import Learned
from modelfleet.plan.load import FleetLoad
from modelfleet.plan.planner import Look
from modelfleet.plan.snapshot import Name, Source
from tests.control.capacity.planned import Planned

CHAT, SMALL, MEDIUM = (Name("ns", name) for name in ("chat", "small", "medium"))


def seen(fleet: Planned, *, source: Source = "Answers") -> Look:
    store = Store(fleet.store, on_invalid=lambda _key, err: pytest.fail(str(err)))
    assert fleet.prometheus.answer is not None
    observed = Observed(
        now_s=fleet.clock.now,
        tiers=store.tiers(),
        cascades=store.cascades(),
        load=fleet.prometheus.answer,
        load_taken_s=fleet.clock.now,
        source=source,
    )
    (group,) = groups(observed.cascades, observed.tiers)
    sight = Sight(
        seen=observed,
        fleet=snapshot(observed, fleet.store, Memory()),
        view=fleet.store,
        pods=Pods(fleet.store),
        starting=starting(fleet.store, observed.tiers, now_s=observed.now_s),
        settings=fleet.settings,
        look_s=15.0,
    )
    return look_at(group, sight, Learned())


@pytest.fixture
def fleet() -> Planned:
    return Planned()


def changed(
    fleet: Planned, *, tier: dict[str, Any] | None = None, chat: dict[str, Any] | None = None
) -> None:
    load = fleet.prometheus.answer
    assert load is not None
    fleet.prometheus.answer = FleetLoad(
        tiers={**load.tiers, SMALL: replace(load.tiers[SMALL], **(tier or {}))},
        started={},
        answered={},
        cascades={CHAT: replace(load.cascades[CHAT], **(chat or {}))},
    )


CASES: dict[str, tuple[dict[str, Any], tuple[bool, bool]]] = {
    "everything is fresh": ({}, (True, True)),
    "a tier's numbers are old": ({"tier": {"age_s": 90.0}}, (False, False)),
    "nobody measures a tier": ({"tier": {"age_s": None}}, (False, False)),
    "a router has not told of a tier": ({"tier": {"routers": 0}}, (False, False)),
    "the Cascade's are old": ({"chat": {"age_s": 90.0}}, (False, True)),
    "nobody counted what came": ({"chat": {"arrived": None}}, (False, True)),
    "nor what was answered": ({"chat": {"answers": None}}, (False, True)),
}


@pytest.mark.parametrize(("change", "want"), CASES.values(), ids=CASES)
def test_completeness(fleet: Planned, change: dict[str, Any], want: tuple[bool, bool]):
    changed(fleet, **change)
    look = seen(fleet)

    assert (look.complete, look.gauges) == want


def test_a_source_that_is_silent_tells_nothing(fleet: Planned):
    look = seen(fleet, source="Silent")

    assert not look.complete
    assert not look.gauges


def test_errors_of_clients_are_answers_that_kept_nothing(fleet: Planned):
    changed(fleet, chat={"failed": 6.0})
    look = seen(fleet)

    assert (look.answers, look.good) == (36.0, 30.0)


def test_pods_that_start_are_told_by_their_age(fleet: Planned):
    for name in ("old", "new"):
        fleet.pod(f"small-{name}", names.LABEL_TIER, names.tier_child("small"), ready=False)
    fleet.store.objects[next(key for key in fleet.store.objects if key.name == "small-new")]["metadata"][
        "creationTimestamp"
    ] = "1970-01-01T02:46:00Z"  # 40 s ago
    small = seen(fleet).tiers[0]

    # A pod without an age is as old as can be, and no supply any more.
    assert (small.ready, small.starting, small.stuck) == (1, 1, 1)


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_pods_that_have_ended_are_not_on_their_way(fleet: Planned, phase: str):
    """An evicted pod is never cleared away by itself: each would be one replica too many for ever."""
    fleet.pod("small-evicted", names.LABEL_TIER, names.tier_child("small"), ready=False)
    evicted = fleet.store.objects[next(key for key in fleet.store.objects if key.name == "small-evicted")]
    evicted["status"] = {**evicted.get("status", {}), "phase": phase, "reason": "Evicted"}
    small = seen(fleet).tiers[0]

    assert (small.ready, small.starting, small.stuck) == (1, 0, 0)


def test_what_a_deployment_has_not_made_yet_is_on_its_way(fleet: Planned):
    fleet.store.objects[next(key for key in fleet.store.objects if key.name == "small")]["status"] = {
        "desiredReplicas": 4
    }
    small = seen(fleet).tiers[0]

    assert (small.replicas, small.ready, small.starting) == (4, 1, 3)


PRICES = {
    "every pool tells its price": ({"gpu": "2.50", "cpu": "0.40"}, {}, [5.0, 0.4]),
    "one does not: units": ({"gpu": "2.50", "cpu": None}, {}, [2.0, 1.0]),
    "but its tier does": ({"gpu": "2.50", "cpu": None}, {MEDIUM.name: "0.30"}, [5.0, 0.3]),
    "a tier's own price counts before its pool's": (
        {"gpu": "2.50", "cpu": "0.40"},
        {SMALL.name: "3"},
        [3.0, 0.4],
    ),
    "what costs nothing is no unit among dollars": ({"gpu": "2.50", "cpu": "0"}, {}, [5.0, 0.0]),
    "where nothing costs anything, units": ({"gpu": "0", "cpu": "0"}, {}, [2.0, 1.0]),
}


@pytest.mark.parametrize(("told", "own", "want"), PRICES.values(), ids=PRICES)
def test_prices_share_a_unit(
    fleet: Planned, told: dict[str, str | None], own: dict[str, str], want: list[float]
):
    fleet.settings = FleetSettings.model_validate(
        {"nodePools": {name: {"pricePerHour": price} if price else {} for name, price in told.items()}}
    )
    for name, pool in ((SMALL.name, {"name": "gpu", "count": 2}), (MEDIUM.name, {"name": "cpu"})):
        key = next(key for key in fleet.store.objects if (key.kind, key.name) == ("ModelTier", name))
        fleet.store.objects[key]["spec"]["nodePool"] = pool
        if name in own:
            fleet.store.objects[key]["spec"]["price"] = {"perReplicaHour": own[name]}

    assert [tier.price for tier in seen(fleet).tiers] == want


def test_a_tier_that_sleeps_is_part_of_the_plan_as_it_is(fleet: Planned):
    fleet.scaled(SMALL.name, minReplicas=0, idle={})
    fleet.store.objects[next(key for key in fleet.store.objects if key.name == "small")]["status"] = {
        "desiredReplicas": 0
    }
    small = seen(fleet).tiers[0]

    assert (small.replicas, small.replicas_min, small.replicas_max) == (0, 0, 0)


def test_a_pinned_tier_is_part_of_the_plan_as_it_is(fleet: Planned):
    key = next(key for key in fleet.store.objects if (key.kind, key.name) == ("ModelTier", "small"))
    fleet.store.objects[key]["metadata"]["annotations"] = {names.ANNOTATION_PIN_REPLICAS: "3"}
    fleet.store.objects[key]["status"] = {"desiredReplicas": 3}
    small = seen(fleet).tiers[0]

    assert (small.replicas, small.replicas_min, small.replicas_max) == (3, 3, 3)


def with_code(fleet: Planned, *, medium: int, ready: bool = True) -> None:
    """A second Cascade, which shares a tier and has a router of its own."""
    fleet.apply(
        "Cascade",
        "code",
        {
            "modelName": "code",
            "tiers": [{"name": "m", "tierRef": {"name": "medium"}}],
            "router": {"dedicated": {}},
        },
    )
    fleet.pod("code-router", names.LABEL_ROUTER, names.router("code"), ready=ready)
    load = fleet.prometheus.answer
    assert load is not None
    fleet.prometheus.answer = replace(
        load,
        tiers={**load.tiers, MEDIUM: replace(load.tiers[MEDIUM], routers=medium)},
        cascades={**load.cascades, **({Name("ns", "code"): load.cascades[CHAT]} if ready else {})},
    )


def test_a_router_has_to_tell_of_its_own_tiers_only(fleet: Planned):
    with_code(fleet, medium=2)

    assert seen(fleet).complete


def test_one_that_shares_a_tier_is_missed(fleet: Planned):
    with_code(fleet, medium=1)

    assert not seen(fleet).complete


def test_a_router_without_pods_lets_nothing_in_and_stops_nobody(fleet: Planned):
    with_code(fleet, medium=1, ready=False)
    look = seen(fleet)

    assert look.complete
    assert look.arrived == 30.0


def test_without_any_router_nobody_knows_anything(fleet: Planned):
    fleet.pod("router-0", names.LABEL_ROUTER, names.router(), ready=False)

    assert not seen(fleet).complete
    assert not seen(fleet).gauges
