from typing import Any

import pytest

from modelfleet.api.route_table import ColdRule, Price
from modelfleet.desired import table, tier_route
from tests.make import cascade, cold_tier, existing_tier, external_tier, tier, vllm_tier

SMALL, MEDIUM, FRONTIER = tier("small"), tier("medium"), external_tier()
TIERS = {"small": SMALL, "medium": MEDIUM, "frontier": FRONTIER}
STEPS = [
    {"name": name, "tierRef": {"name": name}, "weight": {"initial": weight}}
    for name, weight in (("small", 70), ("medium", 20), ("frontier", 10))
]


def test_an_external_tier_is_reached_with_the_files_mounted_for_it():
    route = table.cascade_route(cascade(), TIERS)

    assert route is not None
    target = route.tiers[1].external
    assert target is not None
    assert target.api_key_file == "/etc/modelfleet/external/frontier-tier/api-key"
    assert target.ca_file == "/etc/modelfleet/external/frontier-tier/ca.crt"
    assert (route.tiers[0].service, route.tiers[0].external) == ("small-tier", None)


ROUTINGS = {
    "by load": ({}, 0),
    "by load, said": ({"strategy": "LeastInFlight"}, 0),
    "by beginning": ({"strategy": "PrefixAffinity"}, 128),
    "by a long beginning": ({"strategy": "PrefixAffinity", "prefixCharacters": 999}, 999),
}


@pytest.mark.parametrize(("routing", "want"), ROUTINGS.values(), ids=ROUTINGS)
def test_what_decides_for_a_replica(routing: dict[str, Any], want: int):
    route = table.cascade_route(cascade(tiers=STEPS[:1]), {"small": tier("small", routing=routing)})

    assert route is not None
    assert route.tiers[0].prefix_characters == want


CONTEXTS = {
    "vLLM: of one request": (vllm_tier(), 8192),
    "vLLM: the model's own": (vllm_tier(vllm={"maxModelLen": None}), None),
    "llama.cpp: divided among the slots": (SMALL, 2048),
    "llama.cpp: rounded up": (tier(llamaCpp={"contextLength": 1000, "slots": 3}), 512),
    "llama.cpp: shared by the slots": (tier(llamaCpp={"args": ["--kv_unified"]}), None),
    "llama.cpp: told per slot": (tier(llamaCpp={"args": ["--kv-unified-per-slot", "512"]}), None),
    "llama.cpp: what is too long is cut": (tier(llamaCpp={"args": ["--context-shift"]}), None),
    "llama.cpp: another flag": (tier(llamaCpp={"args": ["--no-kv-unified"]}), 2048),
    "an external API": (FRONTIER, None),
}


@pytest.mark.parametrize(("owner", "want"), CONTEXTS.values(), ids=CONTEXTS)
def test_context_of_a_request(owner: Any, want: int | None):
    assert tier_route.context_tokens(owner) == want


QUEUE = {"minReplicas": 1, "maxReplicas": 4, "metrics": [{"name": "q", "type": "Queue", "target": 20}]}
ROOMS = {
    "slots, and one more so that none is empty": (tier("small", llamaCpp={"slots": 1}), (2, 4)),
    "the default of llama.cpp": (SMALL, (5, 10)),
    "a Queue metric sees its target passed": (tier("small", scaling=QUEUE), (5, 80)),
    "an external API: no limit of ours": (FRONTIER, (None, 0)),
}


@pytest.mark.parametrize(("owner", "want"), ROOMS.values(), ids=ROOMS)
def test_room_at_a_replica(owner: Any, want: tuple[int | None, int]):
    route = table.cascade_route(cascade(tiers=STEPS[:1]), {"small": owner})

    assert route is not None
    assert (route.tiers[0].concurrency, route.tiers[0].waiting) == want


AWAKE = {"conditions": [{"type": "Cold", "status": "False", "reason": "Awake", "message": ""}]}
COLDS = {
    "it sleeps": (cold_tier(), ColdRule(hold_s=300.0, held_max=100)),
    "it is awake": (cold_tier(status=AWAKE), None),
    "it sleeps and is paused": (cold_tier(annotations={"modelfleet.dev/paused": "true"}), None),
    "it may not sleep any more": (cold_tier(scaling={"minReplicas": 1, "idle": None}), None),
}


@pytest.mark.parametrize(("owner", "want"), COLDS.values(), ids=COLDS)
def test_requests_may_wait_for_a_tier_that(owner: Any, want: ColdRule | None):
    route = table.cascade_route(cascade(tiers=STEPS[:1]), {"small": owner})

    assert route is not None
    assert route.tiers[0].cold == want


PRICE = {"inputPerMillionTokens": "0.15", "outputPerMillionTokens": "0.60"}


def test_what_a_request_may_cost_reaches_the_router_in_microdollars():
    tiers = {"small": SMALL, "frontier": external_tier(price=PRICE)}
    route = table.cascade_route(cascade(limits={"maxCostPerRequest": "0.05"}), tiers)

    assert route is not None
    assert route.max_cost_microdollars == 50_000.0
    assert [step.price for step in route.tiers] == [None, Price(0.15, 0.6)]


def test_an_existing_workload_is_found_by_its_own_service_and_port():
    found = {"existing": {"portName": "api"}}
    only = cascade(tiers=[{"name": "small", "tierRef": {"name": "small"}, "timeout": "20s"}])

    route = table.cascade_route(only, {"small": existing_tier(status=found)})

    assert route is not None
    (step,) = route.tiers
    assert (step.service, step.service_port, step.engine) == ("qwen", "api", "vllm")
    assert (step.served_name, step.concurrency) == ("Qwen/Qwen2.5-7B-Instruct", 320)


def test_an_existing_workload_that_nobody_found_gets_no_requests():
    assert table.cascade_route(cascade(), {"small": existing_tier()}) is None
