import math
from dataclasses import replace

import pytest

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.capacity.memory import Memory
from modelfleet.control.capacity.observe import (
    Observed,
    epoch_s,
    last_weights,
    ready_since_s,
    snapshot,
    wanted_replicas,
)
from modelfleet.control.view import MemoryView
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import NOTHING, FleetLoad, TierLoad
from modelfleet.plan.snapshot import Idle, Missing, Name, Reading, Sample

NOW = 10_000.0
SMALL = Name("team", "small")
MODEL = {"uri": "pvc://models/m.gguf"}


def tier(**changes: object) -> ModelTier:
    scaling = {
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {"name": "busy", "type": "Concurrency", "target": "4"},
            {"name": "ttft", "type": "TTFT", "target": "500ms"},
        ],
    }
    spec = {"model": MODEL, "llamaCpp": {"slots": 8}, "scaling": scaling, **changes}
    return ModelTier.model_validate({"metadata": {"name": "small", "namespace": "team"}, "spec": spec})


def cascade(*, status: Manifest | None = None, **changes: object) -> Cascade:
    tiers = [
        {"name": "s", "tierRef": {"name": "small"}, "weight": {"initial": 3, "min": 20}},
        {"name": "m", "tierRef": {"name": "medium"}, "weight": {"initial": 1}},
    ]
    spec = {"modelName": "chat", "tiers": tiers, **changes}
    meta = {"name": "chat", "namespace": "team", "generation": 4}
    return Cascade.model_validate({"metadata": meta, "spec": spec, "status": status or {}})


def pod(name: str, label: str, value: str, *, since: str = "1970-01-01T00:00:00Z", **meta: str) -> Manifest:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "team",
            "resourceVersion": "1",
            "labels": {label: value},
            **meta,
        },
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]},
    }


def view(*pods: Manifest) -> MemoryView:
    seen = MemoryView()
    for item in pods:
        seen.watched(item)
    return seen


ROUTERS = [pod(f"router-{i}", names.LABEL_ROUTER, names.router()) for i in range(2)]
ENGINE = pod("small-0", names.LABEL_TIER, names.tier_child("small"))


def observed(load: TierLoad | None = None, *, chat: Cascade | None = None) -> Observed:
    return Observed(
        now_s=NOW,
        tiers={SMALL: tier()},
        cascades={Name("team", "chat"): chat or cascade()},
        load=FleetLoad({SMALL: load}, {}, {}) if load else NOTHING,
        load_taken_s=NOW - 2.0,
        source="Answers",
    )


FIRST_TOKENS = Buckets((0.2, 0.6, math.inf), (9.0, 10.0, 10.0))  # 95 % within 0.4 s
NONE = Buckets((0.2, 0.6, math.inf), (0.0, 0.0, 0.0))
WHOLE = TierLoad(in_flight=6.0, age_s=3.0, routers=2, ttft=FIRST_TOKENS)


def test_numbers_carry_their_age_since_the_store_measured_them():
    snap = snapshot(observed(WHOLE), view(*ROUTERS, ENGINE), Memory()).tiers[SMALL]

    assert snap.in_flight == Sample(6.0, age_s=5.0, complete=True)
    assert [(target.value, target.reading) for target in snap.targets] == [
        (4.0, Sample(6.0, age_s=5.0, complete=True)),
        (0.5, Sample(pytest.approx(0.4), age_s=5.0, complete=True)),
    ]
    assert (snap.replicas_ready, snap.slots, snap.routed) == (1, 8, True)


IDLE = TierLoad(in_flight=0.0, age_s=3.0, routers=2, ttft=NONE)
TTFT: dict[str, tuple[TierLoad | None, Reading]] = {
    "measured": (WHOLE, Sample(pytest.approx(0.4), age_s=5.0, complete=True)),
    "no requests: idle": (IDLE, Idle()),
    "no requests at the routers that report: cannot tell": (
        TierLoad(in_flight=0.0, age_s=3.0, routers=1, ttft=NONE),
        Missing(),
    ),
    "no requests, but a minute ago: cannot tell": (
        TierLoad(in_flight=0.0, age_s=90.0, routers=2, ttft=NONE),
        Missing(),
    ),
    "no count: cannot tell": (TierLoad(in_flight=1.0, age_s=3.0, routers=2), Missing()),
    "nothing at all": (None, Missing()),
}


@pytest.mark.parametrize(("load", "want"), TTFT.values(), ids=TTFT)
def test_idle_is_proven_never_assumed(load: TierLoad | None, want: Reading):
    snap = snapshot(observed(load), view(*ROUTERS), Memory()).tiers[SMALL]

    assert snap.targets[1].reading == want


def test_a_ready_router_that_does_not_report_makes_the_sum_incomplete():
    one_of_two = TierLoad(in_flight=3.0, age_s=3.0, routers=1)
    snap = snapshot(observed(one_of_two), view(*ROUTERS), Memory()).tiers[SMALL]

    assert snap.in_flight == Sample(3.0, age_s=5.0, complete=False)


def test_a_dedicated_router_is_the_one_that_must_report():
    dedicated = cascade(router={"dedicated": {"replicas": 1}})
    pods = [*ROUTERS, pod("own-0", names.LABEL_ROUTER, names.router("chat"))]
    one = TierLoad(in_flight=3.0, age_s=3.0, routers=1)
    snap = snapshot(observed(one, chat=dedicated), view(*pods), Memory()).tiers[SMALL]

    assert snap.in_flight == Sample(3.0, age_s=5.0, complete=True)


def test_a_cascade_that_was_not_accepted_has_no_router_to_wait_for():
    refused = {"type": "Accepted", "status": "False", "reason": "ModelNameConflict"}
    dedicated = cascade(router={"dedicated": {"replicas": 1}}, status={"conditions": [refused]})
    pods = [*ROUTERS, pod("own-0", names.LABEL_ROUTER, names.router("chat"))]
    seen = observed(WHOLE, chat=dedicated)
    alone = snapshot(seen, view(*pods), Memory()).tiers[SMALL]
    both = {**seen.cascades, Name("team", "other"): cascade()}
    beside_another = snapshot(replace(seen, cascades=both), view(*pods), Memory()).tiers[SMALL]

    assert not alone.routed
    assert beside_another.in_flight == Sample(6.0, age_s=5.0, complete=True)


def test_without_a_ready_router_nothing_is_complete():
    snap = snapshot(observed(WHOLE), view(), Memory()).tiers[SMALL]

    assert snap.in_flight == Sample(6.0, age_s=5.0, complete=False)


def test_a_pod_counts_as_measured_once_the_window_of_the_latency_is_its_own():
    young = pod("small-1", names.LABEL_TIER, names.tier_child("small"), since="1970-01-01T02:46:10Z")  # 9970
    snap = snapshot(observed(WHOLE), view(*ROUTERS, ENGINE, young), Memory()).tiers[SMALL]

    assert (snap.replicas_ready, snap.replicas_measured) == (2, 1)


def test_a_terminating_pod_answers_nobody_new():
    leaving = pod("x", names.LABEL_TIER, "y", deletionTimestamp="2026-01-01T00:00:00Z")

    assert ready_since_s(leaving) is None
    assert ready_since_s(ENGINE) == 0.0


DEPLOYMENT = {"spec": {"replicas": 4}}
WANTED = {
    "decided: the decision": ({"desiredReplicas": 3}, DEPLOYMENT, 3),
    "not decided: what runs": ({}, DEPLOYMENT, 4),
    "nothing runs yet: the minimum or the starting size": ({}, None, 2),
    "suspended before any decision: not zero": ({}, {"spec": {"replicas": 0}}, 2),
}


@pytest.mark.parametrize(("status", "deployment", "want"), WANTED.values(), ids=WANTED)
def test_wanted_replicas(status: Manifest, deployment: Manifest | None, want: int):
    known = tier().model_dump(by_alias=True) | {"status": status}

    assert wanted_replicas(ModelTier.model_validate(known), deployment) == want


SENSELESS = {
    "a number for TTFT": {"type": "TTFT", "target": 500},
    "zero for TTFT": {"type": "TTFT", "target": "0s"},
    "a duration for Queue": {"type": "Queue", "target": "5s"},
    "no number at all": {"type": "Concurrency", "target": "nan"},
    "zero for Queue": {"type": "Queue", "target": 0},
}


@pytest.mark.parametrize("metric", SENSELESS.values(), ids=SENSELESS)
def test_target_without_sense_is_a_metric_without_numbers(metric: Manifest):
    # An older CRD may have let it in; one such object must not end the decisions about all others.
    scaling = {"maxReplicas": 2, "metrics": [{"name": "m", **metric}]}
    seen = replace(observed(WHOLE), tiers={SMALL: tier(scaling=scaling)})
    fleet = snapshot(seen, view(*ROUTERS, ENGINE), Memory())

    assert fleet.tiers[SMALL].targets[0].reading == Missing()
    assert fleet.cascades[Name("team", "chat")].steps[0].queue_target > 0


def test_steps_carry_permille_and_readiness():
    snap = snapshot(observed(WHOLE), view(*ROUTERS, ENGINE), Memory()).cascades[Name("team", "chat")]
    small, medium = snap.steps

    assert (small.initial, small.weight_min, small.weight_max) == (750, 200, 1000)
    assert (small.ready, small.ready_for_s) == (1, NOW)
    # Its ModelTier does not exist: nobody is ready there.
    assert (medium.ready, medium.in_flight) == (0, Missing())
    assert (snap.step_max, snap.hold_s) == (100, 15.0)


def shown(*weights: tuple[str, int], generation: int = 4) -> Manifest:
    condition = {
        "type": "ShareOnTarget",
        "status": "True",
        "reason": "OnTarget",
        "observedGeneration": generation,
    }
    return {
        "tiers": [{"name": name, "weight": weight} for name, weight in weights],
        "conditions": [condition],
    }


def test_weights_of_other_tiers_are_no_decision():
    assert last_weights(cascade(status=shown(("s", 400), ("m", 600)))) == {"s": 400, "m": 600}
    assert last_weights(cascade(status=shown(("s", 1000)))) is None
    assert last_weights(cascade(status=shown(("s", 400), ("m", 400)))) is None
    assert last_weights(cascade()) is None


def test_a_restart_recalls_who_was_out_and_whether_the_spec_changed_meanwhile():
    name = Name("team", "chat")
    same = snapshot(observed(chat=cascade(status=shown(("s", 0), ("m", 1000)))), view(), Memory()).cascades[
        name
    ]
    older = shown(("s", 0), ("m", 1000), generation=3)
    edited = snapshot(observed(chat=cascade(status=older)), view(), Memory()).cascades[name]

    assert (same.out, same.respecified) == (frozenset({"s"}), False)
    assert edited.respecified


def test_timestamps_of_kubernetes_are_read():
    assert epoch_s("1970-01-01T00:01:00Z") == 60.0
    assert epoch_s(None) == 0.0


def test_a_tier_that_nobody_can_price_counts_as_not_ready_where_that_is_bounded():
    external = {"external": {"baseURL": "https://x.com/v1", "model": "big"}, "llamaCpp": None, "model": None}
    unpriced = tier(**external, scaling=None)
    ready = []
    for limits in ({}, {"maxCostPerRequest": "0.05"}):
        seen = replace(observed(chat=cascade(limits=limits)), tiers={SMALL: unpriced})
        fleet = snapshot(seen, view(*ROUTERS), Memory())
        ready.append(fleet.cascades[Name("team", "chat")].steps[0].ready)

    assert ready == [1, 0]
