from dataclasses import replace

import pytest

from modelfleet.plan.behavior import Behavior, Direction, Policy
from modelfleet.plan.scale import (
    limit,
    near,
    propose,
    queue_per_replica,
    remember_change,
    remember_wish,
    stabilize,
)
from modelfleet.plan.snapshot import Change, Missing, Target, TierSnapshot, Wish

UP = Direction(
    window_s=0.0, select="Max", policies=(Policy("Percent", 100, 15), Policy("Pods", 4, 15)), tolerance=0.1
)
DOWN = Direction(window_s=300.0, select="Max", policies=(Policy("Percent", 100, 15),), tolerance=0.1)
CALM = TierSnapshot(
    replicas=2,
    replicas_ready=2,
    replicas_measured=2,
    replicas_min=1,
    replicas_max=10,
    slots=4,
    targets=(),
    in_flight=Missing(),
    behavior=Behavior(up=UP, down=DOWN),
    stale_after_s=60.0,
)
CONCURRENCY = Target("busy", "Concurrency", 4.0, Missing())
QUEUE = Target("waiting", "Queue", 2.0, Missing())
TTFT = Target("ttft", "TTFT", 0.5, Missing())
ITL = Target("itl", "ITL", 0.04, Missing())
KV = Target("kv", "KVCache", 0.8, Missing())
PROMQL = Target("mine", "PromQL", 2.5, Missing())

PROPOSALS = {
    "concurrency at target: keeps": (CALM, CONCURRENCY, 8.0, 2),
    "concurrency 10 % above: still near enough": (CALM, CONCURRENCY, 8.8, 2),
    "concurrency just beyond tolerance: one more": (CALM, CONCURRENCY, 8.9, 3),
    "concurrency triples: three times as many": (CALM, CONCURRENCY, 24.0, 6),
    "concurrency while the new pods start: no second growth": (
        replace(CALM, replicas=6, replicas_measured=2),
        CONCURRENCY,
        24.0,
        6,
    ),
    "concurrency falls: fewer": (replace(CALM, replicas=6), CONCURRENCY, 9.0, 3),
    "nothing in flight: none needed": (CALM, CONCURRENCY, 0.0, 0),
    "queue at target: keeps": (CALM, QUEUE, 12.0, 2),
    "queue doubles: as many as bring it to target": (CALM, QUEUE, 16.0, 3),
    "empty queue but every slot busy: keeps": (CALM, QUEUE, 8.0, 2),
    "empty queue and half the slots idle: one will do": (CALM, QUEUE, 4.0, 1),
    "itl doubles: twice as many": (CALM, ITL, 0.08, 4),
    "kv full, target 80 %: a quarter more": (replace(CALM, replicas=4, replicas_measured=4), KV, 1.0, 5),
    "kv full while the new pod starts: no second growth": (
        replace(CALM, replicas=5, replicas_measured=4),
        KV,
        1.0,
        5,
    ),
    "kv near its target: keeps": (CALM, KV, 0.85, 2),
    "kv nearly empty: one will do": (CALM, KV, 0.02, 1),
    "a query: its number by the target": (CALM, PROMQL, 10.0, 4),
    "a query gives nothing to do: none needed": (CALM, PROMQL, 0.0, 0),
    "a query within tolerance: keeps": (CALM, PROMQL, 5.4, 2),
    "ttft at target: keeps": (CALM, TTFT, 0.5, 2),
    "ttft doubles: twice as many": (CALM, TTFT, 1.0, 4),
    "ttft doubles while two pods start: they are the answer": (
        replace(CALM, replicas=4, replicas_measured=2),
        TTFT,
        1.0,
        4,
    ),
    "ttft quadruples while one pod starts: grows beyond it": (
        replace(CALM, replicas=3, replicas_measured=2),
        TTFT,
        2.0,
        8,
    ),
    "ttft low while one pod starts: the new one is kept": (
        replace(CALM, replicas=5, replicas_measured=4),
        TTFT,
        0.25,
        3,
    ),
    "ttft without a measured pod: keeps": (replace(CALM, replicas_measured=0), TTFT, 9.0, 2),
    "ttft in a rollout with surge: surge pods are no supply": (
        replace(CALM, replicas_measured=3),
        TTFT,
        1.0,
        4,
    ),
}


@pytest.mark.parametrize(("snap", "target", "value", "want"), PROPOSALS.values(), ids=PROPOSALS)
def test_propose(snap: TierSnapshot, target: Target, value: float, want: int):
    assert propose(target, value, snap).replicas == want


def test_queue_is_what_exceeds_the_slots():
    assert queue_per_replica(10, replicas=2, slots=4) == 1
    assert queue_per_replica(7, replicas=2, slots=4) == 0
    assert queue_per_replica(3, replicas=0, slots=4) == 3


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.1])
def test_tolerance_includes_its_edges(ratio: float):
    assert near(ratio, CALM.behavior)


NOW = 1000.0
WINDOWED = {
    "no past: the wish": (CALM, 5, 5),
    "down, a higher wish in the window: stays": (replace(CALM, wishes=(Wish(800, 2),)), 1, 2),
    "down, the window's highest lies between: goes there": (
        replace(CALM, replicas=5, wishes=(Wish(800, 3), Wish(900, 2))),
        1,
        3,
    ),
    "down, the higher wish is too old: goes": (replace(CALM, wishes=(Wish(700, 2),)), 1, 1),
    "up has no window by default: goes at once": (replace(CALM, wishes=(Wish(999, 1),)), 4, 4),
    "up with a window: the smallest wish in it": (
        replace(CALM, behavior=Behavior(replace(UP, window_s=60), DOWN), wishes=(Wish(990, 3),)),
        4,
        3,
    ),
}


@pytest.mark.parametrize(("snap", "wish", "want"), WINDOWED.values(), ids=WINDOWED)
def test_stabilize(snap: TierSnapshot, wish: int, want: int):
    assert stabilize(wish, snap, NOW) == want


def _up(**changes: object) -> TierSnapshot:
    return replace(CALM, behavior=Behavior(replace(UP, **changes), DOWN))  # type: ignore[arg-type]


def _down(**changes: object) -> TierSnapshot:
    return replace(CALM, replicas=10, behavior=Behavior(UP, replace(DOWN, **changes)))  # type: ignore[arg-type]


LIMITED = {
    "up by the defaults: four more or double": (CALM, 10, 6),
    "up by the defaults from eight: double": (replace(CALM, replicas=8), 100, 16),
    "up, the period's budget is used: waits": (replace(CALM, replicas=6, changes=(Change(990, 4),)), 10, 6),
    "up, the budget was used before the period: goes": (
        replace(CALM, replicas=6, changes=(Change(984, 4),)),
        10,
        10,
    ),
    "up with Min: the strictest policy": (_up(select="Min"), 10, 4),
    "up disabled: never": (_up(select="Disabled"), 10, 2),
    "down by the defaults: all at once": (replace(CALM, replicas=10), 1, 1),
    "down by one pod per minute": (_down(policies=(Policy("Pods", 1, 60),)), 1, 9),
    "down by ten percent": (_down(policies=(Policy("Percent", 10, 60),)), 1, 9),
    "down, one pod went already: waits": (
        replace(_down(policies=(Policy("Pods", 1, 60),)), replicas=9, changes=(Change(950, -1),)),
        1,
        9,
    ),
    "down disabled: never": (_down(select="Disabled"), 1, 10),
}


@pytest.mark.parametrize(("snap", "wish", "want"), LIMITED.values(), ids=LIMITED)
def test_limit(snap: TierSnapshot, wish: int, want: int):
    assert limit(wish, snap, NOW) == want


def test_a_wish_repeated_is_remembered_once_with_its_last_time():
    wishes = remember_wish((Wish(0, 3), Wish(10, 2)), Wish(20, 2), memory_s=300)

    assert wishes == (Wish(0, 3), Wish(20, 2))


def test_old_wishes_and_changes_are_forgotten():
    assert remember_wish((Wish(0, 3),), Wish(400, 2), memory_s=300) == (Wish(400, 2),)
    assert remember_change((Change(0, 3),), Change(400, 0), memory_s=300) == ()
