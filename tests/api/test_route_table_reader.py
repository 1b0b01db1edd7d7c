import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.route_table import (
    AcceptRule,
    BudgetSpent,
    CascadeRoute,
    ColdRule,
    DataRule,
    ExternalTarget,
    OverflowRule,
    Price,
    RouterRules,
    RouteTable,
    TierRoute,
    encode,
)
from modelfleet.api.route_table_reader import decode, read

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
    concurrency=5,
    context_tokens=4096,
)
FRONTIER = replace(
    SMALL,
    name="frontier",
    weight_permille=100,
    accept=None,
    cold=None,
    concurrency=None,
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
    spent=BudgetSpent("SkipTier", 1_795_392_000.0),
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


def test_empty_table_is_a_table() -> None:
    assert decode(encode(RouteTable(cascades=()))) == RouteTable(cascades=())


def test_no_weight_at_all_is_a_cascade_that_was_never_ready() -> None:
    idle = replace(CHAT, tiers=(replace(SMALL, weight_permille=0), replace(FRONTIER, weight_permille=0)))

    assert decode(encode(RouteTable(cascades=(idle,)))).cascades == (idle,)


MISSING = object()


def broken(path: str, value: Any) -> dict[str, Any]:
    return broken_in(raw(), path, value)


def broken_in(table: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
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
    "a network that is a number": (broken("rules.external_allow", [True]), r"rules.external_allow\[0\]"),
    "a list": ([], "no object"),
    "nothing": (None, "no object"),
    "another format": (broken("formatVersion", 2), "formatVersion 2, this router reads 1"),
    "no format": (broken("formatVersion", MISSING), "formatVersion None"),
    "no cascades": (broken("cascades", MISSING), "no cascades"),
    "cascades that are no list": (broken("cascades", {}), "as cascades, not a list"),
    "a cascade that is a word": (broken("cascades", ["chat"]), r"as cascades\[0\], not an object"),
    "a part that this router does not know": (
        broken("budgets", {}),
        "budgets, which this router does not know",
    ),
    "a cascade without tiers": (broken("cascades.0.tiers", []), "has no tiers"),
    "a missing field": (broken("cascades.0.deadline_s", MISSING), r"no cascades\[0\].deadline_s"),
    "an unknown field": (
        broken("cascades.0.tiers.0.color", "red"),
        r"cascades\[0\].tiers\[0\].color, which this router does not know",
    ),
    "weights that do not sum": (broken("cascades.0.tiers.0.weight_permille", 1), "do not sum to 1000"),
    "two ways to reach a tier": (
        broken("cascades.0.tiers.1.service", "s"),
        r"cascades\[0\], 'chat', tiers\[1\], 'frontier', needs exactly one of service and external",
    ),
    "no way to reach a tier": (
        broken("cascades.0.tiers.1.external", None),
        "exactly one of service and external",
    ),
    "a port of no Service": (broken("cascades.0.tiers.1.service_port", "http"), "a port of no Service"),
    "an engine that nobody knows": (broken("cascades.0.tiers.0.engine", "tgi"), "does not know"),
    "a signal that nobody knows": (broken("cascades.0.tiers.0.accept.signal", "Vibes"), "does not know"),
    "a last tier with nowhere to go": (
        broken("cascades.0.tiers.1.accept", {"signal": "MeanLogprob", "threshold": -1.0}),
        "escalates to nowhere",
    ),
    "a number where a yes or no belongs": (broken("cascades.0.observe", 1), "observe, not true or false"),
    "a yes where a number belongs": (
        broken("cascades.0.hold_tokens", value=True),
        "hold_tokens, not a whole",
    ),
    "half a token": (broken("cascades.0.hold_tokens", 1.5), "hold_tokens, not a whole"),
    "an overflow for no cause": (broken("cascades.0.overflow.when", []), "an overflow of 20 percent"),
    "an overflow for a cause that nobody knows": (broken("cascades.0.overflow.when", ["Slow"]), "Slow"),
    "an overflow of everything, in a word": (
        broken("cascades.0.overflow.share_percent", "all"),
        "overflow.share_percent, not a whole number",
    ),
    "a price that is a word": (
        broken("cascades.0.tiers.1.price.output_microdollars", "x"),
        "output_microdollars, not a number",
    ),
    "half a rule for a cold tier": (broken("cascades.0.tiers.0.cold", {"hold_s": 1.0}), "cold.held_max"),
    "an operator without address": (broken("rules.wake", [""]), "no addresses"),
    "an operator that is a number": (broken("rules.wake", [8080]), r"rules.wake\[0\], not a text"),
    "operators that are a number": (broken("rules.wake", 8080), "rules.wake, not a list"),
    "a spent budget that means nothing": (broken("cascades.0.spent.action", "Pray"), "does 'Pray' when"),
    "a spent budget without an end": (broken("cascades.0.spent.until_s", MISSING), "spent.until_s"),
    "a data policy that nobody knows": (broken("cascades.0.data.unknown", "Ask"), "does not understand"),
    "a data policy in capitals": (broken("cascades.0.data.local_only", ["Private"]), "does not understand"),
    "a data policy without classes": (broken("cascades.0.data.allowed", MISSING), "data.allowed"),
}


@pytest.mark.parametrize(("table", "why"), BROKEN.values(), ids=BROKEN)
def test_refuses_a_broken_table(table: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(table)


OUT_OF_RANGE: dict[str, tuple[float, ...]] = {
    "cascades.0.deadline_s": (0, -1.0, 1e300),
    "cascades.0.max_body_bytes": (0,),
    "cascades.0.max_escalations": (-1,),
    "cascades.0.hold_tokens": (0,),
    "cascades.0.hold_s": (-0.1,),
    "cascades.0.max_cost_microdollars": (0.0, -1.0),
    "cascades.0.overflow.share_percent": (0, 101),
    "cascades.0.spent.until_s": (-1.0, 1e12),  # no date
    "cascades.0.tiers.0.timeout_s": (0, -1.0),
    "cascades.0.tiers.0.weight_permille": (-100, 1001),
    "cascades.0.tiers.0.accept.threshold": (60.0,),
    "cascades.0.tiers.0.concurrency": (0,),
    "cascades.0.tiers.0.waiting": (-1,),
    "cascades.0.tiers.0.prefix_characters": (-1,),
    "cascades.0.tiers.0.context_tokens": (0,),
    "cascades.0.tiers.0.cold.hold_s": (0.0,),
    "cascades.0.tiers.0.cold.held_max": (-1,),
    "cascades.0.tiers.1.price.input_microdollars": (-1.0,),
    "cascades.0.tiers.1.external.tokens_per_minute": (0,),
    "rules.routers": (0,),
    "rules.access_log_percent": (101,),
    "rules.tracing_percent": (-1,),
}
# As a hand-written table may have them: Python writes and reads the first three, JSON has no name for them.
NO_NUMBERS = (math.nan, math.inf, -math.inf, 10**400, -(10**400))
WRONG = {
    f"{path} = {number:.3g}" if abs(number) < 2**60 else f"{path} = {str(number)[:5]}": (path, number)
    for path, numbers in OUT_OF_RANGE.items()
    for number in (*numbers, *NO_NUMBERS)
}


@pytest.mark.parametrize(("path", "number"), WRONG.values(), ids=WRONG)
def test_refuses_a_number_out_of_range_and_names_its_field(path: str, number: float) -> None:
    said = re.sub(r"\.(\d+)", r"[\1]", path)

    with pytest.raises(ValueError, match=re.escape(f"as {said}, not ")):
        decode(broken(path, number))


@given(st.data())
def test_whatever_stands_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    table = raw()
    place: Any = table
    while isinstance(place, dict | list) and place:
        holder, key = (
            place,
            data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))),
        )
        place = holder[key]
        if data.draw(st.integers(0, 3)) == 0:
            break
    anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({})
    holder[key] = data.draw(anything | st.lists(st.integers()))

    try:
        found = decode(table)
    except ValueError:
        return
    json.dumps(encode(found), allow_nan=False)


LAWFUL = replace(SMALL, accept=None, carries_per_hour=7200, under_way=4)
UNLAWFUL = {
    "nobody knows what a tier carries": (300, {"carries_per_hour": 0}),
    "nor what it has at a time": (300, {"under_way": 0}),
    "bounds that cross": (300, {"least_permille": 600, "most_permille": 500}),
}


@pytest.mark.parametrize(("owed", "change"), UNLAWFUL.values(), ids=UNLAWFUL)
def test_a_law_without_numbers_is_refused(owed: int, change: dict[str, int]) -> None:
    tiers = (replace(LAWFUL, weight_permille=1000, **change),)  # type: ignore[arg-type]  # all of them integers
    table = RouteTable((CascadeRoute("chat", "chat", 120.0, 1024, tiers, owed_permille=owed),))

    with pytest.raises(ValueError, match="moves its entries by numbers that are none"):
        decode(json.loads(json.dumps(encode(table))))


# An operator that is newer than the router.


def newer(*paths: str, optional: Sequence[str]) -> dict[str, Any]:
    table = raw()
    for path in paths:
        broken_in(table, path, {"anything": [1]})
    return {**table, "optional": list(optional)}


EVERYWHERE = ("extra", "rules.extra", "cascades.0.extra", "cascades.0.tiers.1.extra", "cascades.0.data.extra")


def test_an_old_reader_goes_on_without_what_a_new_table_calls_optional() -> None:
    parts = ("extra", "rules.extra", "cascades.extra", "cascades.tiers.extra", "cascades.data.extra")

    found = read(newer(*EVERYWHERE, optional=(*parts, "cascades.unused")))

    assert found == (TABLE, tuple(sorted(parts)))


@pytest.mark.parametrize("path", EVERYWHERE)
def test_an_old_reader_refuses_what_a_new_table_does_not_call_optional(path: str) -> None:
    # One of the same name elsewhere says nothing about this one.
    others = {re.sub(r"\.\d", "", other) for other in EVERYWHERE if other != path}

    with pytest.raises(ValueError, match=re.escape(re.sub(r"\.(\d)", r"[\1]", path)) + ", which this router"):
        read(newer(path, optional=sorted(others)))


def test_what_a_reader_knows_it_uses_although_it_is_optional() -> None:
    assert read({**raw(), "optional": ["cascades.data", "cascades"]}) == (TABLE, ())
    with pytest.raises(ValueError, match=r"data\.unknown"):
        read({**broken("cascades.0.data.unknown", 1), "optional": ["cascades.data"]})


@pytest.mark.parametrize("optional", ["cascades.extra", {"cascades.extra": True}, [1], None])
def test_a_list_of_optional_parts_that_is_none_is_refused(optional: Any) -> None:
    with pytest.raises(ValueError, match="as optional"):
        read({**raw(), "optional": optional})
