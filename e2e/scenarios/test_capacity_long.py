"""What takes minutes: a long outage, a cascade that moves as one, and a real HPA beside us under the same load.

`make test-capacity` runs these; the last one writes bench/out/capacity-live.json.
"""

from collections.abc import Iterator
from statistics import median

import pytest

from bench.figures import Figure, write
from e2e.cluster import choose
from e2e.demo.traffic import Traffic
from e2e.scenarios import engines, hpa, simulated
from e2e.scenarios.engines import Course, load, ready, sampled
from e2e.scenarios.world import World
from modelfleet.sim.fleet import Slo
from modelfleet.sim.policies.simple import Hpa
from modelfleet.sim.policy import Policy
from modelfleet.sim.tally import Tally

pytestmark = pytest.mark.slow

# Requests per second and seconds.  One replica carries 1.9: small ones, so that one more or less means little.
DAY = ((1.0, 30.0), (3.0, 50.0), (5.0, 50.0), (7.0, 50.0), (9.0, 80.0), (6.0, 50.0), (3.0, 50.0), (1.0, 80.0))
SEED = 3
PLACES, OUTPUT = 8, 60
TARGET = 6  # requests under way for each replica
REPLICAS_MAX = 8
DOWN_WINDOW_S = 60
SIMULATED_OFF_MAX = 0.05
CARRIED_LIMIT_S = 300.0
RECENT = 60  # answers
LATE_S_MAX = 2.0  # of an arrival; beyond it the live load is not the simulated one


@pytest.fixture(autouse=True)
def gpus(target: choose.Target) -> None:
    if target.built is None:
        pytest.skip("the nodes of this cluster have no GPUs that a stand-in could use")


def test_weights_and_replicas_move_together(world: World) -> None:
    """The small tier is full: the dear one takes entries at once, and is let go when there are more small ones."""
    engines.tier(world, "small", start_s=20.0, maxReplicas=4)
    engines.tier(world, "large", maxReplicas=3, gpus=4)
    steps = [
        {"name": "small", "tierRef": {"name": "small"}, "weight": {"initial": 100, "min": 40}},
        {"name": "large", "tierRef": {"name": "large"}, "weight": {"initial": 0, "max": 60}},
    ]
    world.cascade("chat", tiers=steps, slo=engines.SLO, weights={"interval": "5s", "maxStep": 20})
    world.wait_ready("modeltier", "large")
    world.wait_ready("cascade", "chat")
    seen: list[tuple[int, int]] = []  # answers of all, and of the large tier

    with load(world, "chat", (1.0, 5.0), (8.0, 900.0)) as traffic:

        def let_go() -> bool:
            seen.append((traffic.count("finished"), traffic.report["tiers"].get("large", 0)))
            total, large = seen[-1]
            before = [old for all_, old in seen if all_ <= total - RECENT]
            return bool(before) and large - before[-1] <= RECENT // 20

        world.wait("the large tier helps", lambda: traffic.report["tiers"].get("large", 0) > 0)
        world.wait("the small tier has grown", lambda: ready(world, "small") >= 3, limit_s=CARRIED_LIMIT_S)
        world.wait("the large tier is let go", let_go, limit_s=CARRIED_LIMIT_S)


@pytest.fixture
def autoscaler(world: World) -> Iterator[None]:
    """A cluster in which HPAs can ask for numbers of Prometheus."""
    hpa.adapter(world.kube)
    yield
    hpa.remove(world.kube)


@pytest.mark.usefixtures("autoscaler")
def test_simulated_hours_are_the_live_ones(world: World) -> None:
    """Two copies of one tier, one scaled by us and one by the cluster's own HPA, under the same arrivals."""
    behavior = {"scaleDown": {"stabilizationWindowSeconds": DOWN_WINDOW_S}}
    engines.tier(world, "ours", places=PLACES, maxReplicas=REPLICAS_MAX, behavior=behavior)
    engines.tier(world, "theirs", places=PLACES, replicas=1)
    for name in ("ours", "theirs"):
        world.cascade(name, name, slo=engines.SLO)
        world.wait_ready("cascade", name)
    hpa.scale(world, "theirs", target=TARGET, replicas_max=REPLICAS_MAX, down_window_s=DOWN_WINDOW_S)

    came = simulated.arrivals(DAY, output=OUTPUT, seed=SEED)
    with (
        load(world, "ours", *DAY, output=OUTPUT, seed=SEED) as first,
        load(world, "theirs", *DAY, output=OUTPUT, seed=SEED, may_fail=True) as second,
        sampled(lambda: len(world.pods("ours")), lambda: len(world.pods("theirs"))) as courses,
    ):
        starts: dict[str, float] = {}

        def carried() -> bool:
            starts.update(engines.cold_starts_s(world, "ours"))
            starts.update(engines.cold_starts_s(world, "theirs"))
            return all(traffic.count("finished") == len(came) for traffic in (first, second))

        world.wait("the day is over", carried, limit_s=sum(seconds for _, seconds in DAY) + CARRIED_LIMIT_S)
    late_s = max(float(traffic.report["lateS"]) for traffic in (first, second))
    assert late_s <= LATE_S_MAX, f"this machine was too busy: requests were sent up to {late_s:.1f} s late"
    start_s = median(starts.values())
    figures = [
        Figure("live_cold_start_s", start_s, min(starts.values()), max(starts.values()), "s", "", None)
    ]
    laws: dict[str, Policy] = {
        "planner": simulated.Planner(down_window_s=DOWN_WINDOW_S),
        "hpa": Hpa(TARGET, down_window_s=DOWN_WINDOW_S),
    }
    for (name, law), course, traffic in zip(laws.items(), courses, (first, second), strict=True):
        tally = simulated.run(
            law,
            came,
            seed=SEED,
            seconds=course.seconds,
            cold_start_s=start_s,
            places=PLACES,
            replicas_max=REPLICAS_MAX,
            slo=Slo(engines.SLO_TTFT_S, engines.SLO_ITL_S),
        )
        figures += _figures(name, course, traffic, tally)
    write("capacity-live.json", figures)
    assert not [figure for figure in figures if figure.met is False], figures


def _figures(name: str, course: Course, traffic: Traffic, tally: Tally) -> list[Figure]:
    """What one of the two did, live and simulated."""
    live_h, simulated_h = course.integral_s() / 3600, simulated.pod_s(tally) / 3600
    off = abs(simulated_h / live_h - 1)
    attained = float(traffic.report["attainment"])
    numbers = {
        f"live_gpu_hours_{name}": (live_h, "h", "", None),
        f"simulated_gpu_hours_{name}": (simulated_h, "h", "", None),
        f"simulated_vs_live_gpu_hours_percent_{name}": (
            100 * off,
            "%",
            f"<= {100 * SIMULATED_OFF_MAX:g} %",
            off <= SIMULATED_OFF_MAX,
        ),
        f"live_attainment_percent_{name}": (100 * attained, "%", "", None),
        f"simulated_attainment_percent_{name}": (100 * tally.attainment, "%", "", None),
        f"live_failed_requests_{name}": (float(traffic.count("failed")), "requests", "", None),
        f"live_replicas_max_{name}": (max(course.values), "replicas", "", None),
    }
    return [
        Figure(figure, round(value, 4), round(value, 4), round(value, 4), unit, target, met)
        for figure, (value, unit, target, met) in numbers.items()
    ]
