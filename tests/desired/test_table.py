import json
from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.fleet_settings import RouterSettings
from modelfleet.api.route_table import (
    BudgetSpent,
    DataRule,
    LastHour,
    OverflowRule,
    RouteTable,
    encode,
)
from modelfleet.api.route_table_reader import decode
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
    "pinned: as pinned, whatever was decided": (
        cascade(
            tiers=STEPS,
            annotations={"modelfleet.dev/pin-weights": "medium=3,frontier=1"},
            status=decided(small=1000, medium=0, frontier=0),
        ),
        TIERS,
        (0, 750, 250),
    ),
    "Fixed, and pinned: as pinned": (
        cascade(
            tiers=STEPS,
            weights={"mode": "Fixed"},
            annotations={"modelfleet.dev/pin-weights": "frontier=1"},
        ),
        TIERS,
        (0, 0, 1000),
    ),
    "pinned to what is no tier: the decision": (
        cascade(
            tiers=STEPS,
            annotations={"modelfleet.dev/pin-weights": "huge=1"},
            status=decided(small=0, medium=900, frontier=100),
        ),
        TIERS,
        (0, 900, 100),
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


ROUTERS = {
    "none ready: those wanted": (0, 2, 2),
    "one of two": (1, 2, 1),
    "one too many": (3, 2, 3),
    "none": (0, 0, 1),
}


@pytest.mark.parametrize(("ready", "wanted", "want"), ROUTERS.values(), ids=ROUTERS)
def test_limits_are_divided_among_ready_routers(ready: int, wanted: int, want: int):
    assert table.rules(RouterSettings(), ready=ready, wanted=wanted).routers == want


def test_settings_of_routers_reach_their_table():
    asked = RouterSettings.model_validate(
        {"accessLog": {"samplePercent": 20}, "tracing": {"endpoint": "http://otel:4318", "samplePercent": 5}}
    )
    told = table.rules(asked, ready=1, wanted=1)
    read = decode(json.loads(json.dumps(encode(RouteTable((), told))))).rules

    assert (read.access_log_percent, read.tracing_endpoint, read.tracing_percent) == (
        20,
        "http://otel:4318",
        5,
    )


OVERFLOW = {
    "no rule: none": ({}, None),
    "an empty rule: every cause, a fifth": (
        {"overflow": {}},
        OverflowRule(("Cold", "Saturated", "Error"), 20),
    ),
    "a rule: as it says": (
        {"overflow": {"when": ["Saturated"], "maxShare": 5}},
        OverflowRule(("Saturated",), 5),
    ),
}


@pytest.mark.parametrize(("spec", "want"), OVERFLOW.values(), ids=OVERFLOW)
def test_overflow(spec: dict[str, Any], want: OverflowRule | None):
    route = table.cascade_route(cascade(**spec), TIERS)

    assert route is not None
    assert route.overflow == want


NEWER = table.json.dumps({**table.encode(RouteTable(())), "cascades": [{"cascade": "chat", "later": 1}]})


@pytest.mark.parametrize(
    "broken",
    [{}, {"data": {}}, {"data": {names.ROUTE_TABLE_KEY: "{"}}, {"data": {names.ROUTE_TABLE_KEY: NEWER}}],
)
def test_a_table_that_cannot_be_read_takes_no_frozen_cascade_away(broken: dict[str, Any]):
    # An operator that was rolled back finds what the newer one wrote.
    assert table.table([cascade()], TIERS, frozen={"chat"}, stored=broken) == table.table([cascade()], TIERS)


@pytest.mark.parametrize("broken", [{}, {"data": {}}, {"data": {names.ROUTE_TABLE_KEY: "{"}}])
def test_a_broken_table_holds_nothing(broken: dict[str, Any]):
    assert table.stored_cascades(broken) == {}


def test_a_cascade_that_is_frozen_before_it_was_ever_written_is_left_out():
    assert table.table([cascade()], TIERS, frozen={"chat"}, stored=None).cascades == ()


RULE = {"signal": "MeanLogprob", "threshold": "-0.48"}
JUDGING = [{**STEPS[0], "accept": RULE}, {**STEPS[1], "accept": {**RULE, "threshold": "0"}}, STEPS[2]]


def test_rules_of_judgement_reach_the_router():
    owner = cascade(
        tiers=JUDGING,
        limits={"maxEscalations": 2},
        stream={"holdBackTokens": 8, "holdBackTime": "1s500ms"},
        weights={"mode": "Observe"},
    )
    route = table.cascade_route(owner, TIERS)

    assert route is not None
    assert [step.accept and step.accept.threshold for step in route.tiers] == [-0.48, 0.0, None]
    assert [step.engine for step in route.tiers] == ["llamaCpp", "llamaCpp", "external"]
    assert (route.max_escalations, route.hold_tokens, route.hold_s, route.observe) == (2, 8, 1.5, True)


def test_a_threshold_that_the_user_left_out_is_the_one_that_was_chosen():
    rule = {"signal": "MeanLogprob"}
    steps = [
        {**STEPS[0], "targetShare": 70, "accept": rule},
        {**STEPS[1], "accept": rule},
        {**STEPS[2], "targetShare": 5},
    ]
    status = {"tiers": [{"name": "small", "threshold": "-0.31"}]}
    route = table.cascade_route(cascade(tiers=steps, status=status), TIERS)

    assert route is not None
    # Until something was chosen every score is accepted; scores are what it is chosen by.
    assert [step.accept and step.accept.threshold for step in route.tiers] == [-0.31, -1000.0, None]


def test_a_tier_that_became_the_last_is_not_judged():
    route = table.cascade_route(cascade(tiers=JUDGING), {"small": SMALL, "medium": MEDIUM})

    assert route is not None
    assert [step.accept is None for step in route.tiers] == [False, True]


def test_what_requests_may_choose_reaches_the_router():
    def chosen(*allowed: str) -> tuple[bool, bool]:
        route = table.cascade_route(cascade(clientChoice=list(allowed)), TIERS)
        assert route is not None
        return route.choose_tier, route.choose_floor

    assert chosen() == (False, False)
    assert chosen("MinTier") == (False, True)
    assert chosen("Tier", "MinTier") == (True, True)


def test_a_data_policy_reaches_the_router_in_lower_case():
    policy = {"header": "X-Data-Class", "localOnly": ["secret", "private"], "unknown": "Reject"}
    route = table.cascade_route(cascade(dataPolicy=policy), TIERS)

    assert route is not None
    assert route.data == DataRule(
        header="x-data-class", local_only=("private", "secret"), allowed=(), unknown="Reject"
    )
    assert decode(table.json.loads(table.json.dumps(table.encode(table.RouteTable((route,)))))).cascades == (
        route,
    )


def test_a_tier_that_nobody_can_bound_gets_no_requests():
    bounded, free = cascade(limits={"maxCostPerRequest": "0.05"}), cascade()
    found = [table.cascade_route(one, TIERS) for one in (bounded, free)]

    assert [route and [step.name for step in route.tiers] for route in found] == [
        ["small"],
        ["small", "frontier"],
    ]


MONEY = {
    "none was set": ({}, True, None),
    "there is some": ({"budget": {"window": "Day", "maxUSD": "5"}}, False, None),
    "it is spent": ({"budget": {"window": "Day", "maxUSD": "5"}}, True, "StopEscalating"),
    "it is spent, and that is the end": (
        {"budget": {"window": "Day", "maxUSD": "5", "onExhausted": "Reject"}},
        True,
        "Reject",
    ),
}


@pytest.mark.parametrize(("spec", "exhausted", "want"), MONEY.values(), ids=MONEY)
def test_a_spent_budget_is_told_with_its_end(spec: dict[str, Any], *, exhausted: bool, want: str | None):
    cost = {
        "since": "2026-11-22T00:00:00Z",
        "until": "2026-11-23T00:00:00Z",
        "spentUSD": "5",
        "limitUSD": "5",
        "forecastUSD": "5",
        "exhausted": exhausted,
    }
    route = table.cascade_route(cascade(**spec, status={"cost": cost}), TIERS)

    assert route is not None
    assert route.spent == (None if want is None else BudgetSpent(want, 1_795_392_000.0))


def test_observing_leaves_the_weights_to_the_operator():
    owner = cascade(
        tiers=STEPS, weights={"mode": "Observe"}, status=decided(small=0, medium=900, frontier=100)
    )

    assert table.weights(owner, usable=["small", "medium", "frontier"])["medium"] == 900


TOLD = {"tiers": [{"name": name, "carriesPerHour": 7200, "underWay": 4} for name in ("small", "big")]}
LAWFUL: dict[str, Any] = {
    "tiers": [
        {"name": "small", "tierRef": {"name": "small"}, "weight": {"initial": 100, "min": 50}},
        {"name": "big", "tierRef": {"name": "big"}, "weight": {"initial": 0, "max": 40}, "targetShare": 30},
    ],
    "slo": {"ttftP95": "800ms"},
    "status": TOLD,
}
LAWS = {
    "a plan has told it all": ({}, 300),
    "no target: what enters at the last": (
        {"tiers": [LAWFUL["tiers"][0], {"name": "big", "tierRef": {"name": "big"}}]},
        0,
    ),
    "nobody says what to keep": ({"slo": None}, None),
    "weights are fixed": ({"weights": {"mode": "Fixed"}}, None),
    "the plan knows one tier only": ({"status": {"tiers": TOLD["tiers"][:1]}}, None),
    "weights are pinned": ({"annotations": {"modelfleet.dev/pin-weights": "small=100"}}, None),
    "answers are judged": (
        {
            "tiers": [
                {**LAWFUL["tiers"][0], "accept": {"signal": "MeanLogprob", "threshold": "-1"}},
                LAWFUL["tiers"][1],
            ]
        },
        None,
    ),
    "a tier is suspended": ({"big": True}, None),
}


def test_while_a_tier_sleeps_nothing_moves_the_entries_that_wake_it():
    asleep = {"conditions": [{"type": "Cold", "status": "True", "reason": "Idle", "message": ""}]}
    scaling = {"minReplicas": 0, "maxReplicas": 2, "idle": {}}
    tiers = {"small": tier("small", scaling=scaling, status=asleep), "big": tier("big")}
    route = table.cascade_route(cascade(**LAWFUL), tiers)

    assert route is not None
    assert route.owed_permille is None
    assert route.tiers[0].weight_permille > 0


@pytest.mark.parametrize(("change", "want"), LAWS.values(), ids=LAWS)
def test_routers_move_entries_where(change: dict[str, Any], want: int | None):
    spec = {**LAWFUL, **change}
    tiers = {"small": tier("small"), "big": tier("big", suspend=bool(spec.pop("big", False)))}
    route = table.cascade_route(cascade(**spec), tiers)

    assert route is not None
    assert route.owed_permille == want
    if want is not None:
        assert [(one.carries_per_hour, one.under_way) for one in route.tiers] == [(7200, 4)] * 2


def test_a_router_that_begins_is_told_the_hour_before():
    tiers = {"small": tier("small"), "big": tier("big")}
    status = {**TOLD, "balance": {"answers": 36_000, "ahead": -15}}
    route = table.cascade_route(cascade(**{**LAWFUL, "status": status}), tiers)
    fixed = table.cascade_route(cascade(**{**LAWFUL, "status": status, "weights": {"mode": "Fixed"}}), tiers)

    assert route is not None
    assert route.last_hour == LastHour(answers=36_000, ahead_permille=-15)
    assert fixed is not None
    assert fixed.last_hour is None


def test_the_users_bounds_reach_the_law():
    route = table.cascade_route(cascade(**LAWFUL), {"small": tier("small"), "big": tier("big")})

    assert route is not None
    assert [(one.least_permille, one.most_permille) for one in route.tiers] == [(500, 1000), (0, 400)]
    assert decode(encode(RouteTable((route,)))).cascades == (route,)
