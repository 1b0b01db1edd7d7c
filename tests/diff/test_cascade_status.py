from dataclasses import replace
from typing import Any

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.diff.cascade_status import TYPES, Observed, status
from modelfleet.diff.pods import Cause
from tests.make import cascade, cold_tier, external_tier, tier

SMALL, FRONTIER = tier(status={"readyReplicas": 1}), external_tier()
SERVING = Observed(
    endpoint="http://modelfleet-router.models.svc/v1",
    router="modelfleet-router",
    tiers={"small": SMALL, "frontier": FRONTIER},
    table_current=True,
    router_ready=2,
)
ALL_GOOD = {
    "Accepted": "True/Accepted",
    "Authenticated": "False/NoApiKeys",
    "Programmed": "True/Programmed",
    "Ready": "True/Serving",
    "ResolvedRefs": "True/Resolved",
    "TiersReady": "True/TiersReady",
}
NO_SMALL = replace(SERVING, tiers={"frontier": FRONTIER})
NOBODY = Cause("ImagePullBackOff", "Container router cannot pull image x", stuck=True)
CASES: dict[str, tuple[Cascade, Observed, dict[str, str]]] = {
    "all is well": (cascade(), SERVING, {}),
    "one tier loads: it serves all the same": (
        cascade(),
        replace(SERVING, tiers={"small": tier(), "frontier": FRONTIER}),
        {"TiersReady": "False/SomeTiersNotReady"},
    ),
    "a tier is missing: it serves all the same": (
        cascade(),
        NO_SMALL,
        {
            "ResolvedRefs": "False/ModelTierNotFound",
            "Stalled": "True/ModelTierNotFound",
            "TiersReady": "False/SomeTiersNotReady",
        },
    ),
    "a tier sleeps: its requests wait": (
        cascade(),
        replace(SERVING, tiers={"small": cold_tier(), "frontier": FRONTIER}),
        {},
    ),
    "a tier sleeps and is paused: nobody wakes it": (
        cascade(),
        replace(
            SERVING,
            tiers={
                "small": cold_tier(annotations={"modelfleet.dev/paused": "true"}),
                "frontier": FRONTIER,
            },
        ),
        {"TiersReady": "False/SomeTiersNotReady"},
    ),
    "a tier is suspended": (
        cascade(),
        replace(SERVING, tiers={"small": tier(suspend=True), "frontier": FRONTIER}),
        {"TiersReady": "False/SomeTiersNotReady"},
    ),
    "an API key is missing": (
        cascade(),
        replace(SERVING, keys_missing=frozenset({"frontier"})),
        {
            "ResolvedRefs": "False/ExternalKeyMissing",
            "Stalled": "True/ExternalKeyMissing",
            "TiersReady": "False/SomeTiersNotReady",
        },
    ),
    "a cost that nobody can bound: the others serve": (
        cascade(limits={"maxCostPerRequest": "0.05"}),
        SERVING,
        {
            "ResolvedRefs": "False/PriceMissing",
            "Stalled": "True/PriceMissing",
            "TiersReady": "False/SomeTiersNotReady",
        },
    ),
    "no tier exists": (
        cascade(),
        replace(SERVING, tiers={}),
        {
            "Programmed": "False/NoTiers",
            "Ready": "False/NoTiers",
            "ResolvedRefs": "False/ModelTierNotFound",
            "Stalled": "True/ModelTierNotFound",
            "TiersReady": "False/NoTierReady",
        },
    ),
    "the name is taken": (
        cascade(),
        replace(SERVING, name_taken_by="older"),
        {
            "Accepted": "False/ModelNameConflict",
            "Programmed": "False/ModelNameConflict",
            "Ready": "False/ModelNameConflict",
            "Stalled": "True/ModelNameConflict",
        },
    ),
    "the table is not written yet": (
        cascade(),
        replace(SERVING, table_current=False),
        {
            "Programmed": "False/RouteTablePending",
            "Ready": "False/RouteTablePending",
            "Reconciling": "True/RouteTablePending",
        },
    ),
    "the router starts": (
        cascade(),
        replace(SERVING, router_ready=0),
        {
            "Programmed": "False/RouterStarting",
            "Ready": "False/RouterStarting",
            "Reconciling": "True/RouterStarting",
        },
    ),
    "the router cannot start": (
        cascade(),
        replace(SERVING, router_ready=0, router_cause=NOBODY),
        {
            "Programmed": "False/ImagePullBackOff",
            "Ready": "False/ImagePullBackOff",
            "Stalled": "True/ImagePullBackOff",
        },
    ),
    "clients need keys": (
        cascade(),
        replace(SERVING, api_keys="modelfleet-keys"),
        {"Authenticated": "True/ApiKeys"},
    ),
    "clients need keys, and there are none": (
        cascade(),
        replace(SERVING, api_keys="modelfleet-keys", api_keys_usable=0),
        {"Authenticated": "True/NoUsableKeys"},
    ),
    "pinned": (
        cascade(annotations={"modelfleet.dev/pin-weights": "small=100"}),
        SERVING,
        {"Pinned": "True/PinnedByAnnotation"},
    ),
    "pinned to a tier that it has not": (
        cascade(annotations={"modelfleet.dev/pin-weights": "huge=100"}),
        SERVING,
        {"Pinned": "False/InvalidPin"},
    ),
    "paused": (cascade(), replace(SERVING, paused=True), {"Paused": "True/PausedByAnnotation"}),
}


def verdicts(made: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: f"{each['status']}/{each['reason']}" for each in made["conditions"]}


@pytest.mark.parametrize(("spec", "seen", "changed"), CASES.values(), ids=CASES)
def test_conditions(spec: Cascade, seen: Observed, changed: dict[str, str]):
    got = verdicts(status(spec, seen, now_s=0.0))

    assert got == {**ALL_GOOD, **changed}
    assert set(got) <= set(TYPES)


def test_the_rest_of_the_status():
    got = status(cascade(), NO_SMALL, now_s=0.0)

    del got["conditions"]
    assert got == {
        "observedGeneration": 1,
        "endpoint": "http://modelfleet-router.models.svc/v1",
        "ready": "1/2",
        "tiers": [{"name": "small", "ready": False}, {"name": "frontier", "ready": True}],
    }
