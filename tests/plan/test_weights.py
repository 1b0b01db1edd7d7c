from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.cascade import permille
from modelfleet.plan.snapshot import CascadeSnapshot, Missing, Reading, Sample, Step
from modelfleet.plan.weights import WeightsVerdict, decide


def in_flight(value: float) -> Sample:
    return Sample(value, age_s=3.0, complete=True)


SMALL = Step(
    name="small",
    initial=1000,
    weight_min=0,
    weight_max=1000,
    ready=2,
    ready_for_s=600.0,
    slots=4,
    queue_target=1.0,
    in_flight=in_flight(3.0),
)
MEDIUM = replace(SMALL, name="medium", initial=0)
FRONTIER = replace(SMALL, name="frontier", initial=0, ready=1, slots=None, in_flight=Missing())
CALM = CascadeSnapshot(
    mode="Auto",
    step_max=100,
    hold_s=15.0,
    steps=(SMALL, MEDIUM, FRONTIER),
    weights={"small": 1000, "medium": 0, "frontier": 0},
    stale_after_s=60.0,
)


def cascade(
    *,
    weights: tuple[int, int, int] | None = (1000, 0, 0),
    out: frozenset[str] = frozenset(),
    **steps: dict[str, object],
) -> CascadeSnapshot:
    changed = tuple(replace(step, **steps.get(step.name, {})) for step in CALM.steps)  # type: ignore[arg-type]
    last = dict(zip(("small", "medium", "frontier"), weights, strict=True)) if weights else None
    return replace(CALM, steps=changed, weights=last, out=out)


DEAD: dict[str, object] = {"ready": 0, "ready_for_s": 0.0}
FULL: dict[str, object] = {"in_flight": in_flight(11.0)}  # 8 slots and 1.5 waiting per replica
BUSY: dict[str, object] = {"in_flight": in_flight(8.0)}  # nothing waits, no room either
BLIND: dict[str, object] = {"in_flight": Missing()}

COLD: dict[str, object] = {"ready": 0, "ready_for_s": 0.0, "cold": True}
HELD: dict[str, object] = {**COLD, "in_flight": in_flight(50.0)}  # they wait for its first replica

CASES = {
    "cold: keeps its entries, one of them wakes it": (cascade(small=COLD), (1000, 0, 0), "Unchanged"),
    "cold, many wait: keeps its entries": (cascade(small=HELD), (1000, 0, 0), "Unchanged"),
    "cold, and alone in being able to answer: keeps its entries": (
        cascade(small=COLD, medium=DEAD, frontier=DEAD),
        (1000, 0, 0),
        "Unchanged",
    ),
    "first decision while small sleeps: the initial weights": (
        cascade(weights=None, small=COLD),
        (1000, 0, 0),
        "Initial",
    ),
    "small dies beside a cold tier: to the next one that answers": (
        cascade(weights=(800, 200, 0), small=DEAD, medium=COLD),
        (0, 200, 800),
        "TierNotReady",
    ),
    "small dies and only a cold tier is left: to that one": (
        cascade(small=DEAD, medium=COLD, frontier=DEAD),
        (0, 1000, 0),
        "TierNotReady",
    ),
    "small is full beside a cold tier: not there": (
        cascade(small=FULL, medium=COLD),
        (900, 0, 100),
        "Saturated",
    ),
    "small went to sleep after it was dead: back to it": (
        cascade(weights=(0, 1000, 0), out=frozenset({"small"}), small=COLD),
        (1000, 0, 0),
        "TierReady",
    ),
    "calm: nothing changes": (CALM, (1000, 0, 0), "Unchanged"),
    "first decision: the initial weights": (cascade(weights=None), (1000, 0, 0), "Initial"),
    "first decision while small starts: around it": (
        cascade(weights=None, small=DEAD),
        (0, 1000, 0),
        "Initial",
    ),
    "fixed: the initial weights, ready or not": (
        replace(cascade(weights=(0, 1000, 0), small=DEAD), mode="Fixed"),
        (1000, 0, 0),
        "Fixed",
    ),
    "observing: as in Auto": (
        replace(cascade(small=DEAD), mode="Observe"),
        (0, 1000, 0),
        "TierNotReady",
    ),
    "pinned: as pinned, ready or not": (
        replace(cascade(medium=DEAD), pinned={"small": 0, "medium": 1000, "frontier": 0}),
        (0, 1000, 0),
        "Pinned",
    ),
    "fixed and pinned: as pinned": (
        replace(cascade(), mode="Fixed", pinned={"small": 0, "medium": 300, "frontier": 700}),
        (0, 300, 700),
        "Pinned",
    ),
    "paused and pinned: what they are": (
        replace(cascade(), paused=True, pinned={"small": 0, "medium": 1000, "frontier": 0}),
        (1000, 0, 0),
        "Paused",
    ),
    "paused: what they are": (replace(cascade(small=DEAD), paused=True), (1000, 0, 0), "Paused"),
    "the user changes initial: at once": (
        replace(cascade(small={"initial": 600}, medium={"initial": 400}), respecified=True),
        (600, 400, 0),
        "SpecChanged",
    ),
    "small dies: the next tier gets its entries at once": (cascade(small=DEAD), (0, 1000, 0), "TierNotReady"),
    "small and medium die: the frontier gets them": (
        cascade(small=DEAD, medium=DEAD),
        (0, 0, 1000),
        "TierNotReady",
    ),
    "the last tier dies: around to the first": (
        cascade(weights=(0, 0, 1000), frontier=DEAD),
        (1000, 0, 0),
        "TierNotReady",
    ),
    "small dies, the frontier's maximum binds": (
        cascade(weights=(900, 0, 100), small=DEAD, frontier={"weight_max": 100}),
        (0, 900, 100),
        "TierNotReady",
    ),
    "only the frontier lives: its maximum gives way": (
        cascade(small=DEAD, medium=DEAD, frontier={"weight_max": 100}),
        (0, 0, 1000),
        "TierNotReady",
    ),
    "a dead tier's minimum does not bind": (
        cascade(small={**DEAD, "weight_min": 500}),
        (0, 1000, 0),
        "TierNotReady",
    ),
    "nobody is ready: weights stay": (
        cascade(weights=(700, 300, 0), small=DEAD, medium=DEAD, frontier=DEAD),
        (700, 300, 0),
        "NoTierReady",
    ),
    "small is back for a moment: not yet": (
        cascade(weights=(0, 1000, 0), out=frozenset({"small"}), small={"ready_for_s": 5.0}),
        (0, 1000, 0),
        "Unchanged",
    ),
    "small is back to stay: all of its entries at once": (
        cascade(weights=(0, 1000, 0), out=frozenset({"small"}), small={"ready_for_s": 16.0}),
        (1000, 0, 0),
        "TierReady",
    ),
    "small is back for a moment and nobody else is there: at once": (
        cascade(
            weights=(0, 1000, 0),
            out=frozenset({"small"}),
            small={"ready_for_s": 1.0},
            medium=DEAD,
            frontier=DEAD,
        ),
        (1000, 0, 0),
        "TierNotReady",
    ),
    "small saturates: one step to the next tier": (cascade(small=FULL), (900, 100, 0), "Saturated"),
    "small saturates, medium is busy: to the frontier": (
        cascade(small=FULL, medium=BUSY),
        (900, 0, 100),
        "Saturated",
    ),
    "small saturates, medium is blind: to the frontier": (
        cascade(small=FULL, medium=BLIND),
        (900, 0, 100),
        "Saturated",
    ),
    "small saturates, medium takes what its maximum allows": (
        cascade(small=FULL, medium={"weight_max": 40}),
        (900, 40, 60),
        "Saturated",
    ),
    "small saturates at its minimum: stays": (
        cascade(weights=(500, 500, 0), small={**FULL, "weight_min": 500}),
        (500, 500, 0),
        "Unchanged",
    ),
    "all saturate: nobody has room": (
        cascade(small=FULL, medium=FULL, frontier=DEAD),
        (1000, 0, 0),
        "Unchanged",
    ),
    "medium saturates, small has room: back around": (
        cascade(weights=(500, 500, 0), medium=FULL, frontier=DEAD),
        (600, 400, 0),
        "Saturated",
    ),
    "the interval has not passed: no step": (
        replace(cascade(small=FULL), step_due=False),
        (1000, 0, 0),
        "Unchanged",
    ),
    "blind: no step": (cascade(weights=(500, 500, 0), small=BLIND), (500, 500, 0), "Unchanged"),
    "a stale number: no step": (
        cascade(small={"in_flight": Sample(99.0, age_s=61.0, complete=True)}),
        (1000, 0, 0),
        "Unchanged",
    ),
    "nothing waits but no room: not yet taken back": (
        cascade(weights=(500, 500, 0), small=BUSY),
        (500, 500, 0),
        "Unchanged",
    ),
    "room again: one step back": (cascade(weights=(500, 500, 0)), (600, 400, 0), "LoadRestored"),
    "room again, little missing: exactly back": (
        cascade(weights=(970, 20, 10)),
        (1000, 0, 0),
        "LoadRestored",
    ),
}


@pytest.mark.parametrize(("snap", "want", "reason"), CASES.values(), ids=CASES)
def test_decide(snap: CascadeSnapshot, want: tuple[int, int, int], reason: str):
    got = decide(snap)

    assert (tuple(got.weights.values()), got.reason) == (want, reason)


def follow(snap: CascadeSnapshot, verdict: WeightsVerdict) -> CascadeSnapshot:
    return replace(snap, weights=verdict.weights, out=verdict.out, respecified=False)


def test_a_tier_that_dies_and_comes_back_ends_where_it_began():
    dead = cascade(weights=(700, 300, 0), small={**DEAD, "initial": 700}, medium={"initial": 300})
    gone = decide(dead)
    alive = cascade(small={"initial": 700}, medium={"initial": 300})
    back = decide(follow(alive, gone))

    assert gone.weights == {"small": 0, "medium": 1000, "frontier": 0}
    assert back.weights == {"small": 700, "medium": 300, "frontier": 0}


def test_shed_load_returns_step_by_step_to_the_initial_weights():
    snap = cascade(weights=(650, 350, 0))
    reasons = []
    for _ in range(5):
        verdict = decide(snap)
        reasons.append(verdict.reason)
        snap = follow(snap, verdict)

    assert reasons == ["LoadRestored"] * 4 + ["Unchanged"]
    assert snap.weights == {"small": 1000, "medium": 0, "frontier": 0}


READINGS: st.SearchStrategy[Reading] = st.one_of(
    st.just(Missing()),
    st.builds(
        Sample,
        st.one_of(st.floats(0, 100), st.sampled_from([float("nan"), float("inf"), -1.0])),
        age_s=st.floats(-1, 90),
        complete=st.booleans(),
    ),
)


@st.composite
def cascades(draw: st.DrawFn, *, bounded: bool = True) -> CascadeSnapshot:
    count = draw(st.integers(1, 8))
    relative = draw(st.lists(st.integers(0, 100), min_size=count, max_size=count).filter(any))
    initial = permille({f"t{i}": weight for i, weight in enumerate(relative)})
    steps = []
    room = 1000
    for name, weight in initial.items():
        low = draw(st.integers(0, room // 10)) * 10 if bounded else 0
        room -= low
        ready = draw(st.integers(0, 2))
        steps.append(
            Step(
                name=name,
                initial=weight,
                weight_min=low,
                weight_max=draw(st.integers(low // 10, 100)) * 10 if bounded else 1000,
                ready=ready,
                ready_for_s=draw(st.floats(0, 60)) if ready else 0.0,
                slots=draw(st.sampled_from([None, 1, 4])),
                queue_target=1.0,
                in_flight=draw(READINGS),
            )
        )
    last = draw(st.lists(st.integers(0, 100), min_size=count, max_size=count).filter(any))
    return CascadeSnapshot(
        mode=draw(st.sampled_from(["Auto", "Auto", "Observe", "Fixed"])),
        step_max=draw(st.integers(1, 100)) * 10,
        hold_s=15.0,
        steps=tuple(steps),
        weights=draw(st.one_of(st.none(), st.just(permille(dict(zip(initial, last, strict=True)))))),
        stale_after_s=60.0,
        out=draw(st.frozensets(st.sampled_from(sorted(initial)))),
        step_due=draw(st.booleans()),
        respecified=draw(st.booleans()),
    )


@given(cascades())
def test_weights_always_sum_to_1000_and_are_never_negative(snap: CascadeSnapshot):
    weights = decide(snap).weights

    assert sum(weights.values()) == 1000
    assert min(weights.values()) >= 0
    assert list(weights) == [step.name for step in snap.steps]


@given(cascades())
def test_a_dead_tier_never_gets_entries_while_another_lives(snap: CascadeSnapshot):
    verdict = decide(snap)
    if snap.mode == "Auto" and any(step.ready for step in snap.steps):
        assert all(verdict.weights[step.name] == 0 for step in snap.steps if not step.ready)


@given(cascades())
def test_bounds_bind_ready_tiers_wherever_they_can(snap: CascadeSnapshot):
    settled = replace(snap, out=frozenset(), mode="Auto")
    first = decide(replace(settled, weights=None))
    ready = [step for step in snap.steps if step.ready]
    if not ready or sum(step.weight_max for step in ready) < 1000:
        return
    second = decide(follow(replace(settled, step_due=True), first))
    for verdict in (first, second):
        assert all(s.weight_min <= verdict.weights[s.name] <= s.weight_max for s in ready)


@given(cascades(bounded=False))
def test_load_moves_no_weight_by_more_than_a_step(snap: CascadeSnapshot):
    verdict = decide(snap)
    if verdict.stepped and snap.weights is not None:
        moved = [abs(verdict.weights[name] - weight) for name, weight in snap.weights.items()]
        assert max(moved) <= snap.step_max


@given(cascades())
def test_blind_moves_nothing_because_of_load(snap: CascadeSnapshot):
    blind = tuple(replace(step, in_flight=Missing(), slots=4) for step in snap.steps)

    assert not decide(replace(snap, steps=blind)).stepped


@given(cascades())
def test_with_nothing_new_the_second_decision_changes_nothing(snap: CascadeSnapshot):
    once = decide(snap)
    calm = replace(follow(snap, once), step_due=False)
    twice = decide(calm)

    assert decide(follow(calm, twice)).weights == twice.weights


BUSY = replace(SMALL, in_flight=in_flight(40.0))
PLANNED = replace(
    CALM, planned=True, steps=(replace(SMALL, initial=700), replace(MEDIUM, initial=300), FRONTIER)
)


def test_where_routers_move_entries_weights_go_to_the_plan_and_stay():
    towards = decide(PLANNED)
    there = replace(PLANNED, weights={"small": 700, "medium": 300, "frontier": 0})
    crowded = replace(there, steps=(replace(BUSY, initial=700), *there.steps[1:]))

    assert (towards.reason, towards.weights["small"]) == ("Planned", 900)
    assert decide(there).reason == "Unchanged"
    assert decide(crowded).reason == "Unchanged"  # nothing is shed: the routers do it
