"""Where requests start and where their answers come from: the routers' own law, and thresholds chosen for a split.

What is slow here is part of `make test-capacity`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import mean

import pytest

from e2e.cluster import choose
from e2e.demo.fleet import weights
from e2e.demo.traffic import Traffic
from e2e.scenarios import engines
from e2e.scenarios.engines import add, load, sampled
from e2e.scenarios.world import World, no_operator, seconds_until
from e2e.standin.answers import HARD, HARD_LOGPROB_MAX, LOGPROB_MIN

OWED = 30  # percent of all answers, of the large tier
PLACES, OUTPUT = 8, 30  # of a replica, which carries 2.5 requests per second then; tokens
CALM_RPS, BURST_RPS = 4.0, 15.0  # the large tier has one replica, the small one six
BURST_S = 12.0
FEWER = 0.2  # of the entries: what the large tier carries is a sixth of the burst
SECONDS = 10.0  # of a law that acts every second, on a machine that may be busy
# Answers before the burst.  Routers save up to 5 % of them, and owe 2 % before they pay at once.
SAVED, HISTORY = 150, 500
OWED_MAX = 2.0  # percent of all answers, that routers may owe at any time
ROUNDED = 0.5  # percent: what is under way when the run ends
PAID_LIMIT_S = 180.0

TARGETS = {"small": 70, "medium": 25, "large": 5}
ALL = 1000  # permille
ENTERING = (16.0, 900.0)  # per second, seconds: more than 400 scores a minute, so that one minute decides
TOKENS = 4
NEAR = 0.04  # part of the answers, that moves on too many or too few by a threshold that is near
CHOSEN_LIMIT_S = 60.0
# The last minute's scores decide, so after one all of them are new; then a scrape, a decision and its way to routers.
SHIFT_LIMIT_S = 60.0 + 5.0 + 2 * 5.0 + 15.0
ANSWERS = 600  # whose shares are compared with the targets
OFF_MAX = 5.0  # percentage points, as in ShareOnTarget


@pytest.fixture(autouse=True)
def gpus(target: choose.Target) -> None:
    if target.built is None:
        pytest.skip("the nodes of this cluster have no GPUs that a stand-in could use")


def test_routers_move_entries_while_no_operator_runs(world: World) -> None:
    """In a burst the large tier keeps the load that it was planned for, and the small one takes the rest."""
    with _planned_pair(world) as traffic, no_operator(world.kube):
        world.wait("there is a past", lambda: _answered(traffic, {})[0] >= SAVED)
        add(traffic, (BURST_RPS - CALM_RPS, 600.0), output=OUTPUT, seed=2)
        took_s = seconds_until(
            lambda: _entering_large(world) < FEWER, what="fewer enter the large tier", limit_s=SECONDS
        )
        print(
            f"{_entering_large(world):.2f} of the entries are the large tier's {took_s:.1f} s after the burst"
        )


@pytest.mark.slow
def test_what_a_burst_left_owing_is_paid_back(world: World) -> None:
    """The operator is away all the time, and over the whole run the large tier answers what it owes."""
    with _planned_pair(world) as traffic, no_operator(world.kube):
        before = dict(traffic.report["tiers"])
        world.wait("there is a past", lambda: _answered(traffic, before)[0] >= HISTORY, limit_s=PAID_LIMIT_S)
        with sampled(lambda: _balance(world), lambda: _answered(traffic, before)[1]["large"]) as (
            balance,
            answered,
        ):
            add(traffic, (BURST_RPS - CALM_RPS, BURST_S), output=OUTPUT, seed=2)
            world.wait("it owes", lambda: min(balance.values, default=0.0) < 0)
            world.wait(
                "the burst is over",
                lambda: _answered(traffic, before)[0] > HISTORY + BURST_RPS * BURST_S,
                limit_s=PAID_LIMIT_S,
            )
            world.wait("the debt is paid", lambda: balance.values[-1] >= 0, limit_s=PAID_LIMIT_S)
    print(
        f"balance {balance.values[0]:.0f}, then {min(balance.values):.0f}, then {balance.values[-1]:.0f}; of all answers "
        f"at least {min(answered.values)} percent, in the end {answered.values[-1]}"
    )
    assert min(answered.values) >= OWED - OWED_MAX
    assert answered.values[-1] >= OWED - ROUNDED


def test_thresholds_make_the_shares_come_out(world: World) -> None:
    with _judged(world) as traffic:
        _shares_come_out(world, traffic, most=0.0, limit_s=CHOSEN_LIMIT_S)


@pytest.mark.slow
def test_thresholds_follow_a_shift_of_the_work(world: World) -> None:
    """All questions become hard ones, and within the documented time the same part of them moves on as before."""
    with _judged(world) as traffic:
        _shares_come_out(world, traffic, most=0.0, limit_s=CHOSEN_LIMIT_S)
        world.wait_condition("cascade", "chat", "ShareOnTarget", "True", "OnTarget")

        traffic.set(word=HARD)
        _shares_come_out(world, traffic, most=HARD_LOGPROB_MAX, limit_s=SHIFT_LIMIT_S)
        world.wait_condition("cascade", "chat", "ShareOnTarget", "True", "OnTarget")


@contextmanager
def _planned_pair(world: World) -> Iterator[Traffic]:
    """A Cascade under a calm load, whose routers know what its tiers carry."""
    engines.tier(world, "small", places=PLACES, minReplicas=6, maxReplicas=6)
    engines.tier(world, "large", places=PLACES, maxReplicas=1)
    steps = [
        {"name": "small", "tierRef": {"name": "small"}},
        {"name": "large", "tierRef": {"name": "large"}, "targetShare": OWED},
    ]
    world.cascade("chat", tiers=steps, slo=engines.SLO)
    for name in ("small", "large"):
        world.wait_ready("modeltier", name)
    world.wait_ready("cascade", "chat")
    with load(world, "chat", (CALM_RPS, 900.0), output=OUTPUT) as traffic:
        world.wait(
            "routers know what a replica carries",
            lambda: all(table["cascades"][0]["law"] for table in world.router_tables()),
        )
        yield traffic


def _entering_large(world: World) -> float:
    """Part of the entries, on average over the routers."""
    return mean(float(table["cascades"][0]["tiers"][1]["entryShare"]) for table in world.router_tables())


def _balance(world: World) -> float:
    """Answers of the large tier beyond what it owes, of all routers."""
    return sum(float(table["cascades"][0]["law"]["balanceRequests"]) for table in world.router_tables())


@contextmanager
def _judged(world: World) -> Iterator[Traffic]:
    """Three tiers under load, two of which judge by thresholds that are the operator's to choose."""
    steps = []
    for name, share in TARGETS.items():
        engines.tier(world, name, replicas=1)
        judge = {} if name == "large" else {"accept": {"signal": "MeanLogprob"}}
        steps.append({"name": name, "tierRef": {"name": name}, "targetShare": share, **judge})
    world.cascade("chat", tiers=steps, limits={"maxEscalations": 2})
    for name in TARGETS:
        world.wait_ready("modeltier", name)
    world.wait_ready("cascade", "chat")
    # Who was ready first has them until then.
    world.wait("all start at the small tier", lambda: weights(world.get("cascade", "chat"))["small"] == ALL)
    with load(world, "chat", ENTERING, output=TOKENS) as traffic:
        yield traffic


def _shares_come_out(world: World, traffic: Traffic, *, most: float, limit_s: float) -> None:
    """Of questions whose scores are evenly spread between LOGPROB_MIN and `most`."""
    passed = {"small": 1 - TARGETS["small"] / 100, "medium": TARGETS["large"] / 100}
    width = most - LOGPROB_MIN
    wanted = {name: LOGPROB_MIN + width * share for name, share in passed.items()}
    took_s = seconds_until(
        lambda: all(abs(_thresholds(world)[name] - value) <= NEAR * width for name, value in wanted.items()),
        what=f"thresholds are near {wanted}",
        limit_s=limit_s,
    )
    before = dict(traffic.report["tiers"])
    world.wait("enough is answered", lambda: _answered(traffic, before)[0] >= ANSWERS)
    _, shares = _answered(traffic, before)
    print(f"thresholds {_thresholds(world)} after {took_s:.0f} s; then {shares} percent")
    assert all(abs(shares.get(name, 0.0) - share) <= OFF_MAX for name, share in TARGETS.items()), shares


def _thresholds(world: World) -> dict[str, float]:
    tiers = world.get("cascade", "chat")["status"]["tiers"]
    return {tier["name"]: float(tier["threshold"]) for tier in tiers if tier.get("threshold") is not None}


def _answered(traffic: Traffic, before: Mapping[str, int]) -> tuple[int, dict[str, float]]:
    """(answers since `before`, their percent by tier)"""
    now = traffic.report["tiers"]
    since = {name: count - before.get(name, 0) for name, count in now.items()}
    total = sum(since.values())
    return total, {name: round(100 * count / max(1, total), 1) for name, count in since.items()}
