import json
from dataclasses import replace
from typing import Any

import pytest

from modelfleet.api.route_table import (
    AcceptRule,
    CascadeRoute,
    ColdRule,
    DataRule,
    ExternalTarget,
    OverflowRule,
    Price,
    RouterRules,
    RouteTable,
    TierRoute,
    decode,
    encode,
)

SMALL = TierRoute(
    name="small",
    model_tier="smollm2",
    served_name="smollm2",
    weight_permille=900,
    timeout_s=20.0,
    service="smollm2-tier",
    external=None,
    engine="llamaCpp",
    accept=AcceptRule("MeanLogprob", -0.48),
    cold=ColdRule(hold_s=300.0, held_max=100),
)
FRONTIER = replace(
    SMALL,
    name="frontier",
    weight_permille=100,
    accept=None,
    cold=None,
    engine="external",
    service=None,
    price=Price(0.15, 0.6),
    external=ExternalTarget(
        base_url="https://x.com/v1",
        api_key_file="/k",
        ca_file=None,
        requests_per_minute=600,
        tokens_per_minute=400_000,
    ),
)
CHAT = CascadeRoute(
    cascade="chat",
    model_name="chat",
    deadline_s=120.0,
    max_body_bytes=1024,
    tiers=(SMALL, FRONTIER),
    overflow=OverflowRule(when=("Cold", "Error"), share_percent=20),
    max_cost_microdollars=50_000.0,
    data=DataRule("x-class", ("private",), ("public",), "Reject"),
)
TABLE = RouteTable(cascades=(CHAT,), rules=RouterRules(wake=("operators.sys.svc:8080",)))


def raw() -> dict[str, Any]:
    return json.loads(json.dumps(encode(TABLE)))  # type: ignore[no-any-return]


def test_survives_json() -> None:
    assert decode(raw()) == TABLE


def test_table_from_before_there_were_rules_is_read() -> None:
    old = raw()
    for name in ("max_escalations", "hold_tokens", "hold_s", "observe", "overflow"):
        old["cascades"][0].pop(name, None)
    for tier in old["cascades"][0]["tiers"]:
        for name in ("engine", "accept", "cold"):
            tier.pop(name, None)
    del old["cascades"][0]["tiers"][1]["external"]["requests_per_minute"]

    assert decode(old).cascades[0].tiers[0].accept is None


def test_what_is_not_used_is_not_written() -> None:
    # An older router refuses a table with a field that it does not know, and it may be there for minutes.
    plain = TierRoute("small", "smollm2", "smollm2", 1000, 20.0, "smollm2-tier", None)
    table = RouteTable((CascadeRoute("chat", "chat", 120.0, 1024, (plain,)),))

    assert encode(table) == {
        "formatVersion": 1,
        "cascades": [
            {
                "cascade": "chat",
                "model_name": "chat",
                "deadline_s": 120.0,
                "max_body_bytes": 1024,
                "tiers": [
                    {
                        "name": "small",
                        "model_tier": "smollm2",
                        "served_name": "smollm2",
                        "weight_permille": 1000,
                        "timeout_s": 20.0,
                        "service": "smollm2-tier",
                        "external": None,
                    }
                ],
            }
        ],
    }
    assert decode(encode(table)) == table


def test_empty_table_is_a_table() -> None:
    assert decode(encode(RouteTable(cascades=()))) == RouteTable(cascades=())


def test_no_weight_at_all_is_a_cascade_that_was_never_ready() -> None:
    idle = replace(CHAT, tiers=(replace(SMALL, weight_permille=0), replace(FRONTIER, weight_permille=0)))

    assert decode(encode(RouteTable(cascades=(idle,)))).cascades == (idle,)


MISSING = object()


def broken(path: str, value: Any) -> dict[str, Any]:
    table = raw()
    place: Any = table
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return table


BROKEN = {
    "a network that is none": (broken("rules.external_deny", ["10.0.0.1/8"]), "host bits"),
    "a network that is a number": (broken("rules.external_allow", [True]), "does not appear"),
    "a list": ([], "no object"),
    "nothing": (None, "no object"),
    "another format": (broken("formatVersion", 2), "formatVersion 2, this router reads 1"),
    "no format": (broken("formatVersion", MISSING), "formatVersion None"),
    "no cascades": (broken("cascades", MISSING), "broken"),
    "cascades that are no list": (broken("cascades", {}), "no list of cascades"),
    "a part that this router does not know": (
        broken("budgets", {}),
        "budgets, which this router does not know",
    ),
    "a cascade without tiers": (broken("cascades.0.tiers", []), "has no tiers"),
    "a missing field": (broken("cascades.0.deadline_s", MISSING), "broken"),
    "an unknown field": (broken("cascades.0.tiers.0.color", "red"), "broken"),
    "weights that do not sum": (broken("cascades.0.tiers.0.weight_permille", 1), "do not sum to 1000"),
    "two ways to reach a tier": (
        broken("cascades.0.tiers.1.service", "s"),
        "exactly one of service and external",
    ),
    "a port of no Service": (broken("cascades.0.tiers.1.service_port", "http"), "a port of no Service"),
    "an engine that nobody knows": (broken("cascades.0.tiers.0.engine", "tgi"), "does not know"),
    "a signal that nobody knows": (broken("cascades.0.tiers.0.accept.signal", "Vibes"), "does not know"),
    "a threshold that is a percentage": (
        broken("cascades.0.tiers.0.accept.threshold", 60.0),
        "does not know",
    ),
    "a last tier with nowhere to go": (
        broken("cascades.0.tiers.1.accept", {"signal": "MeanLogprob", "threshold": -1.0}),
        "escalates to nowhere",
    ),
    "no token to judge by": (broken("cascades.0.hold_tokens", 0), "judges nothing"),
    "a number where a yes or no belongs": (broken("cascades.0.observe", 1), "observe"),
    "a rate of nothing": (broken("cascades.0.tiers.1.external.tokens_per_minute", 0), "lets nothing through"),
    "an overflow for no cause": (broken("cascades.0.overflow.when", []), "an overflow of 20 percent"),
    "an overflow for a cause that nobody knows": (broken("cascades.0.overflow.when", ["Slow"]), "Slow"),
    "an overflow of more than all": (
        broken("cascades.0.overflow.share_percent", 101),
        "an overflow of 101 percent",
    ),
    "an overflow of everything, in a word": (
        broken("cascades.0.overflow.share_percent", "all"),
        "share_percent",
    ),
    "a price below nothing": (
        broken("cascades.0.tiers.1.price.input_microdollars", -1.0),
        "price that is none",
    ),
    "a price that is a word": (
        broken("cascades.0.tiers.1.price.output_microdollars", "x"),
        "output_microdollars",
    ),
    "a limit on cost of nothing": (broken("cascades.0.max_cost_microdollars", 0.0), "limit on cost"),
    "no context": (broken("cascades.0.tiers.0.context_tokens", 0), "has no room"),
    "a wait of less than nothing": (broken("cascades.0.tiers.0.cold.hold_s", 0.0), "less than nothing"),
    "fewer than none may wait": (broken("cascades.0.tiers.0.cold.held_max", -1), "less than nothing"),
    "half a rule for a cold tier": (broken("cascades.0.tiers.0.cold", {"hold_s": 1.0}), "broken"),
    "an operator that is a number": (broken("rules.wake", [8080]), "no addresses"),
    "operators that are a number": (broken("rules.wake", 8080), "broken"),
    "no room at a replica": (broken("cascades.0.tiers.0.concurrency", 0), "has no room"),
    "less than no prefix": (
        broken("cascades.0.tiers.0.prefix_characters", -1),
        "a prefix of less than nothing",
    ),
    "less than no line": (broken("cascades.0.tiers.0.waiting", -1), "has no room"),
    "a data policy that nobody knows": (broken("cascades.0.data.unknown", "Ask"), "does not understand"),
    "a data policy in capitals": (broken("cascades.0.data.local_only", ["Private"]), "does not understand"),
    "a data policy without classes": (broken("cascades.0.data.allowed", MISSING), "broken"),
    "no way to reach a tier": (
        broken("cascades.0.tiers.1.external", None),
        "exactly one of service and external",
    ),
}


@pytest.mark.parametrize(("table", "why"), BROKEN.values(), ids=BROKEN)
def test_refuses_a_broken_table(table: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(table)


def test_refuses_a_negative_weight() -> None:
    table = broken("cascades.0.tiers.0.weight_permille", -100)
    table["cascades"][0]["tiers"][1]["weight_permille"] = 1100

    with pytest.raises(ValueError, match="negative weight"):
        decode(table)


LAWFUL = replace(SMALL, accept=None, carries_per_hour=7200, under_way=4)
UNLAWFUL = {
    "nobody knows what a tier carries": (300, {"carries_per_hour": 0}),
    "nor what it has at a time": (300, {"under_way": 0}),
    "bounds that cross": (300, {"least_permille": 600, "most_permille": 500}),
    "more than all": (1001, {}),
}


@pytest.mark.parametrize(("owed", "change"), UNLAWFUL.values(), ids=UNLAWFUL)
def test_a_law_without_numbers_is_refused(owed: int, change: dict[str, int]) -> None:
    tiers = (replace(LAWFUL, weight_permille=1000, **change),)  # type: ignore[arg-type]  # all of them integers
    table = RouteTable((CascadeRoute("chat", "chat", 120.0, 1024, tiers, owed_permille=owed),))

    with pytest.raises(ValueError, match="moves its entries by numbers that are none"):
        decode(json.loads(json.dumps(encode(table))))
