from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.scaling import Scaling
from modelfleet.control.capacity.controls import fallback, pools, schedules
from modelfleet.plan.schedule import Scheduled
from modelfleet.plan.snapshot import Fallback, Name, Pool
from tests.make import existing_tier, tier

EIGHT = 8 * 3600.0


def scaling(**more: object) -> Scaling:
    return Scaling.model_validate({"maxReplicas": 4, **more})


def test_schedules_in_the_planner_s_words():
    rows = [
        {"cron": "0 8 * * *", "duration": "1h", "minReplicas": 9},
        {"cron": "0 9 * * *", "duration": "1h", "timeZone": "Europe/Zurich", "minReplicas": 2},
        {"cron": "0 9 * * *", "duration": "1h", "timeZone": "Europe/Zuerich", "minReplicas": 2},
        {"cron": "0 9 * * *", "duration": "1h", "timeZone": "../UTC", "minReplicas": 2},
    ]

    got = schedules(scaling(schedules=rows), EIGHT)

    # Nine are more than maxReplicas, which only a CRD without our rules lets in.
    assert got == Scheduled(
        4,
        "0 8 * * *",
        ("timeZone Europe/Zuerich: no such time zone", "timeZone ../UTC: no such time zone"),
    )
    assert schedules(scaling(schedules=rows[1:2]), EIGHT).replicas == 2
    assert schedules(scaling(), EIGHT) == Scheduled()


def test_only_a_fallback_that_does_something_is_one():
    assert fallback(scaling()) is None
    assert fallback(scaling(fallback={"behavior": "Hold"})) is None
    assert fallback(scaling(fallback={"behavior": "AtLeast", "replicas": 3})) == Fallback(3, after_s=180.0)


def test_pools_with_a_limit_know_what_tiers_of_a_fixed_size_take():
    settings = FleetSettings.model_validate({"nodePools": {"gpu": {"maxUnits": 16}, "cpu": {}}})
    gpu = {"name": "gpu", "count": 2}
    tiers = {
        Name("a", "fixed"): tier(replicas=3, nodePool=gpu),
        Name("a", "pinned"): tier(nodePool=gpu, annotations={"modelfleet.dev/pin-replicas": "2"}),
        Name("b", "suspended"): tier(replicas=5, suspend=True, nodePool=gpu),
        Name("b", "scaled"): tier(scaling={"maxReplicas": 4}, nodePool=gpu),
        Name("b", "adopted"): existing_tier(nodePool=gpu, status={"replicas": 1}),
        Name("b", "elsewhere"): tier(replicas=7, nodePool={"name": "cpu"}),
        Name("b", "anywhere"): tier(replicas=7),
    }

    assert pools(settings, tiers) == {"gpu": Pool(16, taken=12)}
