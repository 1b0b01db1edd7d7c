"""A Cascade that says what to keep: its tiers are planned together, live."""

import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import rfc3339
from modelfleet.control.ports import Key
from modelfleet.plan.record import decode
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import CHAT, MEDIUM, SMALL
from tests.control.capacity.planned import MODEL, Planned, learned_of, notes, shown, within

ALONE = Key("ModelTier", "ns", "alone")


@pytest.fixture
def fleet() -> Planned:
    return Planned()


async def test_replicas_follow_the_plan_of_the_cascade(fleet: Planned):
    fleet.load(rps=10.0)
    await fleet.tick()

    small, medium = fleet.replicas()
    # A replica carries 0.7 * 4 slots / 2 s = 1.4 a second; three of ten have to fit into the medium tier alone.
    assert medium == 3
    assert 5 <= small <= 10
    assert fleet.condition(SMALL) == ("True", "FollowsPlan")
    assert fleet.status(SMALL)["lastScale"]["reason"] == "LoadAhead"
    assert "1.4 requests/s each within Slots" in fleet.status(SMALL)["lastScale"]["message"]


@pytest.mark.parametrize(
    ("age_s", "reason"), [(300.0, "MetricsStale"), (3.0, "FollowsPlan")], ids=["stale", "fresh"]
)
async def test_a_blind_plan_holds(fleet: Planned, age_s: float, reason: str):
    await fleet.tick()
    before = fleet.replicas()
    fleet.load(rps=0.1, age_s=age_s)
    await fleet.tick()
    await fleet.tick()

    assert fleet.replicas() == before
    assert fleet.condition(SMALL)[1] == reason


async def test_the_rate_of_change_is_the_users(fleet: Planned):
    slowly = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    fleet.scaled("small", behavior=slowly)
    fleet.load(rps=20.0)
    await fleet.tick()
    await fleet.tick()

    assert fleet.replicas()[0] == 2


async def test_nobody_says_what_to_keep(fleet: Planned):
    fleet.cascade(slo=None)
    await fleet.tick()

    assert fleet.condition(SMALL) == ("False", "NoObjective")
    assert "slo in a Cascade" in fleet.status(SMALL)["conditions"][0]["message"]


async def test_a_profile_that_nobody_knows_is_told(fleet: Planned):
    fleet.scaled("small", profile="9b-z900")
    await fleet.tick()

    assert fleet.condition(SMALL) == ("False", "ProfileUnknown")
    assert "8b-h100" in fleet.status(SMALL)["conditions"][0]["message"]


async def test_a_tier_with_metrics_of_its_own_keeps_to_them(fleet: Planned):
    fleet.scaled("small", metrics=[{"name": "busy", "type": "Concurrency", "target": 10}])
    fleet.load(rps=10.0)
    await fleet.tick()

    assert fleet.condition(SMALL) == ("True", "FollowsMetrics")
    assert fleet.replicas()[0] == 2  # 20 in flight, 10 each
    assert fleet.condition(MEDIUM) == ("True", "FollowsPlan")
    assert shown(fleet, "planned_replicas", model_tier="small") > 2  # what it would be given
    assert shown(fleet, "planned_replicas", model_tier="medium") == fleet.replicas()[1] == 3


async def test_two_cascades_add_up(fleet: Planned):
    alone, both = fleet, Planned()
    alone.load(rps=5.0)
    both.apply(
        "Cascade",
        "bulk",
        {"modelName": "bulk", "tiers": both.store.objects[CHAT]["spec"]["tiers"]},
    )
    both.load(rps=5.0)
    assert both.prometheus.answer is not None
    chat = both.prometheus.answer.cascades[Name("ns", "chat")]
    both.prometheus.answer = replace(
        both.prometheus.answer, cascades={Name("ns", "chat"): chat, Name("ns", "bulk"): chat}
    )
    await both.tick()
    await alone.tick()

    assert both.replicas()[1] > alone.replicas()[1]


async def test_full_engines_grow_whatever_the_plan_believes(fleet: Planned):
    await fleet.tick()
    fleet.load(rps=0.5, waiting=12.0)
    await fleet.tick()

    assert fleet.replicas()[0] == 2
    assert fleet.status(SMALL)["lastScale"]["reason"] in {"EngineFull", "LoadAhead"}


async def test_plans_show_what_they_saw_and_how_it_went(fleet: Planned):
    for _ in range(12):
        await fleet.tick()

    assert shown(fleet, "arrivals_per_second", cascade="chat") == 2.0
    assert shown(fleet, "sized_for_per_second", cascade="chat") > 2.0
    assert shown(fleet, "slo_attained_ratio", cascade="chat") == 1.0
    assert shown(fleet, "forecasts_total", cascade="chat", outcome="Held") >= 3
    assert fleet.registry.get_sample_value("modelfleet_operator_plan_duration_seconds_count") == 12

    fleet.load(rps=20.0)
    await fleet.tick()
    assert shown(fleet, "forecasts_total", cascade="chat", outcome="Exceeded") >= 1

    fleet.cascade(slo=None)
    await fleet.tick()
    gone = {"fleet_namespace": "ns", "cascade": "chat"}
    assert fleet.registry.get_sample_value("modelfleet_operator_arrivals_per_second", gone) is None


async def test_a_quiet_night_shrinks_though_nothing_is_answered(fleet: Planned):
    fleet.scaled("small", behavior={"scaleDown": {"stabilizationWindowSeconds": 900}})
    fleet.load(rps=10.0)
    await fleet.tick()
    fleet.ready("small", fleet.replicas()[0])
    fleet.ready("medium", fleet.replicas()[1])
    await fleet.tick()
    fleet.load(rps=0.0)
    assert fleet.prometheus.answer is not None
    quiet = replace(
        fleet.prometheus.answer.tiers[Name("ns", "small")],
        prompt_tokens=None,
        output_tokens=None,
        answer_s=None,
    )
    fleet.prometheus.answer = replace(
        fleet.prometheus.answer, tiers={Name("ns", name): quiet for name in ("small", "medium")}
    )
    for _ in range(70):
        await fleet.tick()

    assert fleet.replicas() == (1, 1)


async def test_the_last_changes_are_told(fleet: Planned):
    for at in range(9):
        fleet.load(rps=2.0 + 2 * at)
        await fleet.tick()
    history = fleet.status(SMALL)["scaleHistory"]

    assert len(history) == 5
    assert history[0] == fleet.status(SMALL)["lastScale"]
    assert [one["to"] for one in history[1:]] == [one["from"] for one in history[:-1]]


async def test_how_long_a_replica_takes_is_told_and_planned_with(fleet: Planned):
    at = fleet.clock.now
    for number, engine_s in enumerate((200.0, 210.0, 300.0)):
        fleet.pod(f"small-{number}", names.LABEL_TIER, names.tier_child("small"), since_s=at + 30 + engine_s)
        pod = fleet.store.objects[Key("Pod", "ns", f"small-{number}")]
        pod["metadata"] |= {"uid": f"u{number}", "creationTimestamp": rfc3339(at)}
        pod["status"]["conditions"].append(
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(at + 10)}
        )
        began = {"running": {"startedAt": rfc3339(at + 30)}}
        pod["status"]["containerStatuses"] = [{"restartCount": 0, "state": began}]
    fleet.clock.now += 600
    await fleet.tick()

    assert fleet.status(SMALL)["coldStart"] == {
        "scheduling": "10s", "image": "20s", "weights": "0s", "engine": "300s", "total": "330s"
    }  # fmt: skip
    kept = decode(notes(fleet)["data"]["decision.json"])
    assert [tier.lead_s for tier in kept.look.tiers] == [330.0, 120.0]  # medium has shown none


async def test_the_cascade_says_whether_it_keeps_its_objectives(fleet: Planned):
    await fleet.tick()
    assert within(fleet) == ("True", "Kept")

    fleet.cascade(slo={"ttftP95": "50ms"})
    for _ in range(9):
        await fleet.tick()
    assert within(fleet) == ("False", "Missed")

    await fleet.loop.rebalance()
    assert within(fleet) == ("False", "Missed")

    fleet.cascade(slo=None)
    await fleet.tick()
    assert {each["type"] for each in fleet.status(CHAT)["conditions"]} == {"ShareOnTarget"}


async def test_what_is_needed_stays_while_the_load_moves_a_little(fleet: Planned):
    """A condition whose words follow every look is a write with every look."""
    fleet.scaled("small", maxReplicas=2)
    fleet.scaled("medium", maxReplicas=2)
    said = []
    for at in range(30):
        fleet.load(rps=30.0 + at % 3)
        await fleet.tick()
        said += [each["message"] for each in fleet.status(CHAT)["conditions"] if each["type"] == "WithinSLO"]
    settled = set(said[10:])
    fleet.load(rps=90.0)
    for _ in range(10):
        await fleet.tick()
    more = [each["message"] for each in fleet.status(CHAT)["conditions"] if each["type"] == "WithinSLO"]

    assert len(settled) == 1
    assert "small would need maxReplicas " in said[-1]
    assert more != [said[-1]]


async def test_routers_are_told_what_a_replica_carries(fleet: Planned):
    await fleet.tick()
    told = {tier["name"]: (tier["carriesPerHour"], tier["underWay"]) for tier in fleet.status(CHAT)["tiers"]}
    assert told == {"s": (5040, 3), "m": (5040, 3)}

    fleet.load(rps=2.0, answer_s=2.02)
    await fleet.tick()
    assert [tier["carriesPerHour"] for tier in fleet.status(CHAT)["tiers"]] == [5040, 5040]  # no news

    fleet.load(rps=2.0, age_s=300.0)
    await fleet.tick()
    assert [tier["carriesPerHour"] for tier in fleet.status(CHAT)["tiers"]] == [5040, 5040]

    fleet.load(rps=2.0)
    fleet.cascade(weights={"mode": "Fixed"})
    await fleet.tick()
    assert all("carriesPerHour" not in tier for tier in fleet.status(CHAT)["tiers"])


async def test_routers_that_begin_are_told_what_is_owed(fleet: Planned):
    fleet.load(rps=2.0)
    load = fleet.prometheus.answer
    assert load is not None
    fleet.prometheus.answer = replace(load, answered={Name("ns", "chat"): {"s": 5150.0, "m": 2050.0}})
    await fleet.tick()
    await fleet.tick()  # what replicas carry is published first
    assert fleet.status(CHAT)["balance"] == {"answers": 7200, "ahead": -15}

    fleet.cascade(weights={"mode": "Fixed"})
    await fleet.tick()
    await fleet.tick()
    assert "balance" not in fleet.status(CHAT)


LLAMA, VLLM = {"llamaCpp": {"slots": 4}}, {"vllm": {"maxNumSeqs": 4}}
ENGINES: dict[str, tuple[int, dict[str, Any], dict[str, Any], str]] = {
    "all tell": (8, LLAMA, {}, ""),
    "one is silent": (7, LLAMA, {}, "some"),
    "all are: something stands between": (0, LLAMA, {}, "all"),
    "likewise of vLLM": (0, VLLM, {}, "all"),
    "vLLM that counts nothing": (0, {"vllm": {"maxNumSeqs": 4, "args": ["--disable_log_stats"]}}, {}, ""),
    "nobody is to read them": (0, LLAMA, {"capacity": {"engineMetrics": "Optional"}}, ""),
    "nobody is to, and some tell": (7, LLAMA, {"capacity": {"engineMetrics": "Optional"}}, "some"),
}


@pytest.mark.parametrize(("engines", "engine", "settings", "silent"), ENGINES.values(), ids=ENGINES)
async def test_what_engines_do_not_tell_is_no_room(
    fleet: Planned, engines: int, engine: dict[str, Any], settings: dict[str, Any], silent: str
):
    fleet.settings = FleetSettings.model_validate(settings)
    fleet.apply("ModelTier", "small", {"model": MODEL, "scaling": {"maxReplicas": 10}, **engine})
    fleet.store.objects[SMALL]["status"] = {"desiredReplicas": 8}
    fleet.ready("small", 8)
    fleet.load(rps=1.0)
    load = fleet.prometheus.answer
    assert load is not None
    told = replace(load.tiers[Name("ns", "small")], engines=engines, waiting_engines=0.0)
    fleet.prometheus.answer = replace(load, tiers={**load.tiers, Name("ns", "small"): told})
    for _ in range(30):
        await fleet.tick()

    assert (fleet.replicas()[0] < 8) is not bool(silent)
    assert fleet.condition(SMALL) == ("True", "MetricsPartlyStale" if silent else "FollowsPlan")
    if silent:
        said = next(c for c in fleet.status(SMALL)["conditions"] if c["type"] == "ScalingActive")["message"]
        assert f"queue and KV cache of {silent} replicas" in said


@pytest.mark.parametrize("first", ["gone", "api"])
async def test_a_tier_without_replicas_of_ours_stops_no_plan(fleet: Planned, first: str):
    """One that was deleted, or an external API, beside the only one that is planned."""
    if first == "api":
        external = {"baseURL": "https://api.example/v1", "model": "m"}
        fleet.apply("ModelTier", first, {"external": external})
    fleet.cascade(
        tiers=[{"name": "s", "tierRef": {"name": "small"}}, {"name": "x", "tierRef": {"name": first}}]
    )
    fleet.load(rps=10.0)
    await fleet.tick()

    assert fleet.replicas()[0] > 1
    assert "carriesPerHour" not in fleet.status(CHAT)["tiers"][0]


def with_another(fleet: Planned, **change: float) -> None:
    """A second plan, of a Cascade `solo` and a tier `alone`.  `change`: in what was measured of it."""
    fleet.scaled("alone")
    fleet.apply(
        "Cascade",
        "solo",
        {
            "modelName": "solo",
            "tiers": [{"name": "a", "tierRef": {"name": "alone"}}],
            "slo": {"ttftP95": "500ms"},
        },
    )
    fleet.load(rps=10.0)
    load = fleet.prometheus.answer
    assert load is not None
    chat = load.cascades[Name("ns", "chat")]
    fleet.prometheus.answer = replace(
        load,
        tiers={**load.tiers, Name("ns", "alone"): load.tiers[Name("ns", "small")]},
        cascades={Name("ns", "chat"): chat, Name("ns", "solo"): replace(chat, **change)},
    )


async def test_what_is_no_number_holds_its_own_plan_alone(fleet: Planned):
    with_another(fleet, arrived=math.nan)
    await fleet.tick()
    await fleet.tick()

    assert fleet.replicas()[0] > 1
    assert fleet.status(ALONE)["desiredReplicas"] == 1
    assert fleet.condition(ALONE) == ("False", "MetricsStale")


BUGS = (
    "control.capacity.plan.look_at",
    "control.capacity.plan.judge",
    "control.capacity.plan._asked",
    "plan.planner.plan",
    "plan.publish.law",
    "plan.record.of",
)


@pytest.mark.parametrize("where", BUGS)
async def test_a_plan_that_fails_costs_no_other(fleet: Planned, where: str, monkeypatch: pytest.MonkeyPatch):
    module, name = f"modelfleet.{where}".rsplit(".", 1)
    real = getattr(import_module(module), name)

    def meets_a_bug(*about: Any, **more: Any) -> Any:
        if "alone" in repr(about[0]):
            raise RuntimeError("a bug")
        return real(*about, **more)

    monkeypatch.setattr(f"{module}.{name}", meets_a_bug)
    with_another(fleet)
    await fleet.tick()

    assert fleet.replicas()[0] > 1
    assert within(fleet) == ("True", "Kept")
    assert fleet.status(CHAT)["tiers"][0]["carriesPerHour"] > 0
    assert shown(fleet, "planned_replicas", model_tier="small") > 1
    assert len(learned_of(fleet).state.rates_rps) > 1
