import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.scaling import ScalingBehavior
from modelfleet.plan.behavior import behavior
from modelfleet.plan.planner import TierPlan
from modelfleet.plan.rules import decide
from modelfleet.plan.snapshot import Idle, Missing, Reading, Sample, Silent, Sleep, Target, TierSnapshot, Wish
from tests.plan.calm_tier import CALM, NOW, busy, fresh, ttft

MINE = Target("mine", "PromQL", 2.5, Missing(), "1:4: parse error")


def loaded(value: float, **changes: object) -> TierSnapshot:
    return replace(CALM, targets=(busy(fresh(value)),), in_flight=fresh(value), **changes)  # type: ignore[arg-type]


def blinded(reading: Reading) -> TierSnapshot:
    return replace(CALM, targets=(busy(reading),), in_flight=reading)


# Idle for an hour, of the half that it takes.
QUIET = Sleep(after_s=1800.0, quiet_s=3600.0, awake_s=math.inf, wanted=False, answers=True)


def sleepy(replicas: int = 3, **changes: object) -> TierSnapshot:
    """A tier that may sleep and does not say otherwise; nothing is in flight."""
    own = {name: changes.pop(name) for name in ("quiet_s", "awake_s", "wanted") if name in changes}
    return loaded(0.0, replicas=replicas, sleep=replace(QUIET, **own), **changes)  # type: ignore[arg-type]


CASES = {
    "a schedule runs: grows to it at once": (
        loaded(1.0, scheduled=5, replicas_min=5),
        (5, "Scheduled"),
    ),
    "a schedule runs, the load asks for more: follows": (
        loaded(24.0, scheduled=4, replicas_min=4, replicas=4),
        (6, "ConcurrencyAboveTarget"),
    ),
    "a schedule runs, nothing to do: stays at it": (
        loaded(0.0, scheduled=3, replicas_min=3),
        (3, "AtMinimum"),
    ),
    "a schedule begins while it sleeps: wakes": (sleepy(0, scheduled=2, replicas_min=2), (2, "Scheduled")),
    "a schedule runs, quiet for long: does not sleep": (
        sleepy(2, scheduled=2, replicas_min=2),
        (2, "AtMinimum"),
    ),
    "a schedule runs, no metrics at all: grows to it": (
        replace(blinded(Missing()), scheduled=5, replicas_min=5, source="Silent"),
        (5, "Scheduled"),
    ),
    "a query fails, the other metric asks for more: grows": (
        replace(loaded(20.0), targets=(busy(fresh(20.0)), MINE)),
        (5, "ConcurrencyAboveTarget"),
    ),
    "a query fails, the other metric asks for less: does not shrink": (
        replace(loaded(1.0), targets=(busy(fresh(1.0)), MINE)),
        (3, "MetricsPartlyStale"),
    ),
    "the only query fails: holds": (replace(CALM, targets=(MINE,)), (3, "MetricsStale")),
    "pinned: that many, whatever the load and the bounds say": (loaded(99.0, pinned=8), (8, "Pinned")),
    "pinned, and no metrics at all: that many": (
        replace(blinded(Missing()), pinned=2, source="Silent"),
        (2, "Pinned"),
    ),
    "pinned and quiet for long: does not sleep": (sleepy(pinned=2), (2, "Pinned")),
    "asleep and pinned: wakes": (sleepy(0, pinned=2), (2, "Pinned")),
    "pinned and paused: left alone": (loaded(12.0, pinned=1, paused="Paused"), (3, "Paused")),
    "quiet for long enough: sleeps, from any size": (sleepy(), (0, "Idle")),
    "quiet for long enough, no metrics at all: sleeps": (sleepy(source="Silent"), (0, "Idle")),
    "not quiet for long enough: shrinks to one like others": (
        sleepy(quiet_s=1799.0, wishes=(Wish(600.0, 3),)),
        (1, "BelowTarget"),
    ),
    "one replica, not quiet for long enough: stays": (sleepy(1, quiet_s=10.0), (1, "AtMinimum")),
    "a router does not say: holds": (sleepy(1, quiet_s=None, source="Silent"), (1, "MetricsStale")),
    "a request is held somewhere: stays": (sleepy(1, wanted=True), (1, "AtMinimum")),
    "woken a moment ago and not used since: stays": (sleepy(1, awake_s=20.0), (1, "AtMinimum")),
    "woken long ago and not used since: sleeps": (sleepy(1, awake_s=1800.0), (0, "Idle")),
    "never to shrink: does not sleep": (
        sleepy(
            1, behavior=behavior(ScalingBehavior.model_validate({"scaleDown": {"selectPolicy": "Disabled"}}))
        ),
        (1, "AtMinimum"),
    ),
    "quiet for long enough, but a query gives work: stays": (
        replace(sleepy(1), targets=(replace(MINE, reading=fresh(1.0)),)),
        (1, "AtMinimum"),
    ),
    "quiet for long enough, and a query gives none: sleeps": (
        replace(sleepy(1), targets=(replace(MINE, reading=fresh(0.0)),)),
        (0, "Idle"),
    ),
    "quiet for long enough, a query cannot be read: stays": (
        replace(sleepy(1), targets=(MINE,)),
        (1, "MetricsStale"),
    ),
    "asleep, and a query gives work: one replica": (
        replace(sleepy(0), targets=(replace(MINE, reading=fresh(1.0)),)),
        (1, "WokenUp"),
    ),
    "asleep, and a query cannot be read: stays": (replace(sleepy(0), targets=(MINE,)), (0, "Idle")),
    "asleep: stays, whatever the metrics say": (loaded(99.0, replicas=0, sleep=QUIET), (0, "Idle")),
    "asleep and blind: stays": (replace(blinded(Missing()), replicas=0, sleep=QUIET), (0, "Idle")),
    "asleep and wanted: one replica": (sleepy(0, wanted=True), (1, "WokenUp")),
    "asleep and wanted, no router says anything: one replica": (
        sleepy(0, wanted=True, quiet_s=None, source="Silent"),
        (1, "WokenUp"),
    ),
    "asleep, wanted and paused: left alone": (sleepy(0, wanted=True, paused="Paused"), (0, "Paused")),
    "asleep, and may not sleep any more: one replica": (loaded(0.0, replicas=0), (1, "BelowMinimum")),
    "may sleep, load grows: follows": (
        replace(loaded(20.0), sleep=replace(QUIET, quiet_s=0.0)),
        (5, "ConcurrencyAboveTarget"),
    ),
    "routers say quiet, Prometheus does not: follows the load": (
        replace(loaded(12.0), sleep=QUIET),
        (3, "WithinTolerance"),
    ),
    "load fits: keeps three": (CALM, (3, "WithinTolerance")),
    "load grows: follows": (loaded(20.0), (5, "ConcurrencyAboveTarget")),
    "load explodes: as far as the maximum": (loaded(999.0), (6, "ConcurrencyAboveTarget")),
    "at the maximum: says so": (loaded(999.0, replicas=6), (6, "AtMaximum")),
    "load falls, higher wish lately: waits": (
        loaded(4.0, wishes=(Wish(900.0, 3),)),
        (3, "StabilizationWindow"),
    ),
    "load fell long ago: shrinks": (loaded(4.0, wishes=(Wish(600.0, 3),)), (1, "BelowTarget")),
    "at the minimum: stays": (loaded(0.0, replicas=1), (1, "AtMinimum")),
    "budget of the period used: waits": (
        loaded(
            20.0, behavior=behavior(ScalingBehavior.model_validate({"scaleUp": {"selectPolicy": "Disabled"}}))
        ),
        (3, "RateLimit"),
    ),
    "below minReplicas: repaired without data": (
        replace(blinded(Missing()), replicas=1, replicas_min=2),
        (2, "BelowMinimum"),
    ),
    "above maxReplicas: repaired without data": (
        replace(blinded(Missing()), replicas=9),
        (6, "AboveMaximum"),
    ),
    "no sample: holds": (blinded(Missing()), (3, "MetricsStale")),
    "old sample: holds": (blinded(Sample(0.0, age_s=61.0, complete=True)), (3, "MetricsStale")),
    "sample from the future: holds": (blinded(Sample(0.0, age_s=-5.0, complete=True)), (3, "MetricsStale")),
    "infinite sample: holds": (blinded(fresh(math.inf)), (3, "MetricsStale")),
    "NaN sample: holds": (blinded(fresh(math.nan)), (3, "MetricsStale")),
    "negative sample: holds": (blinded(fresh(-1.0)), (3, "MetricsStale")),
    "a router is missing from the sum: holds": (
        blinded(Sample(0.0, age_s=3.0, complete=False)),
        (3, "MetricsStale"),
    ),
    "nobody measures: holds, whatever the last numbers were": (
        loaded(0.0, source="Silent"),
        (3, "MetricsStale"),
    ),
    "no Cascade uses the tier: holds": (replace(blinded(Missing()), routed=False), (3, "NotRouted")),
    "suspended: keeps the number for later": (loaded(99.0, paused="Suspended"), (3, "Suspended")),
    "paused: leaves all alone": (loaded(99.0, paused="Paused"), (3, "Paused")),
    "one metric blind, the other low: does not shrink": (
        replace(loaded(0.0), targets=(busy(fresh(0.0)), ttft(Missing()))),
        (3, "MetricsPartlyStale"),
    ),
    "one metric blind, the other high: grows": (
        replace(CALM, targets=(busy(fresh(20.0)), ttft(Missing()))),
        (5, "ConcurrencyAboveTarget"),
    ),
    "the largest metric wins": (
        replace(CALM, targets=(busy(fresh(14.0)), ttft(fresh(0.9)))),
        (6, "TTFTAboveTarget"),
    ),
    "ttft idle, nothing in flight: to the minimum": (
        replace(CALM, targets=(ttft(Idle()),), in_flight=fresh(0.0)),
        (1, "Idle"),
    ),
    "ttft idle but requests wait: no opinion": (
        replace(CALM, targets=(ttft(Idle()),), in_flight=fresh(2.0)),
        (3, "NoOpinion"),
    ),
    "ttft idle and nobody knows what is in flight: no opinion": (
        replace(CALM, targets=(ttft(Idle()),), in_flight=Missing()),
        (3, "NoOpinion"),
    ),
    "ttft idle has no say beside a metric that has one": (
        replace(CALM, targets=(ttft(Idle()), busy(fresh(20.0)))),
        (5, "ConcurrencyAboveTarget"),
    ),
}


@pytest.mark.parametrize(("snap", "want"), CASES.values(), ids=CASES)
def test_decide(snap: TierSnapshot, want: tuple[int, str]):
    got = decide(snap, NOW)

    assert (got.replicas, got.reason) == want


NUMBERS = st.one_of(st.floats(0, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e308]))
READINGS = st.one_of(
    st.builds(Sample, NUMBERS, age_s=st.floats(-10, 400), complete=st.booleans()),
    st.just(Idle()),
    st.just(Missing()),
)
BLIND = st.one_of(
    st.just(Missing()),
    st.builds(Sample, NUMBERS, age_s=st.floats(60.1, 1e5), complete=st.booleans()),
    st.builds(Sample, NUMBERS, age_s=st.floats(0, 60), complete=st.sampled_from([False])),
    st.builds(
        Sample,
        st.sampled_from([math.nan, math.inf, -1.0]),
        age_s=st.floats(0, 60),
        complete=st.sampled_from([True]),
    ),
)
WISHES = st.lists(st.builds(Wish, st.floats(0, NOW), st.integers(1, 12)), max_size=5).map(tuple)


@st.composite
def snapshots(draw: st.DrawFn, readings: st.SearchStrategy[Reading] = READINGS) -> TierSnapshot:
    low, high = sorted((draw(st.integers(1, 12)), draw(st.integers(1, 12))))
    replicas = draw(st.integers(0, 14))
    kinds = draw(st.lists(st.sampled_from(["TTFT", "Concurrency", "Queue"]), min_size=1, max_size=3))
    return replace(
        CALM,
        replicas=replicas,
        replicas_ready=draw(st.integers(0, 14)),
        replicas_measured=draw(st.integers(0, 14)),
        replicas_min=low,
        replicas_max=high,
        targets=tuple(Target(f"m{i}", kind, 2.0, draw(readings)) for i, kind in enumerate(kinds)),  # type: ignore[arg-type]
        in_flight=draw(readings),
        wishes=draw(WISHES),
    )


@given(snapshots())
def test_never_below_the_floor_and_never_above_the_ceiling(snap: TierSnapshot):
    assert snap.replicas_min <= decide(snap, NOW).replicas <= snap.replicas_max


@given(snapshots(readings=BLIND))
def test_blind_never_shrinks(snap: TierSnapshot):
    assert decide(snap, NOW).replicas >= min(snap.replicas, snap.replicas_max)


SLEEPS = st.builds(
    Sleep,
    after_s=st.floats(1, 1e5),
    quiet_s=st.one_of(st.none(), st.floats(0, 1e6)),
    awake_s=st.one_of(st.floats(0, 1e6), st.just(math.inf)),
    wanted=st.booleans(),
    answers=st.booleans(),
)
SOURCES = st.sampled_from(["Answers", "Silent"])


@given(snapshots(), SLEEPS, SOURCES)
def test_only_what_all_routers_call_quiet_for_long_enough_goes_to_sleep(
    snap: TierSnapshot, sleep: Sleep, source: str
):
    snap = replace(snap, replicas=max(1, snap.replicas), sleep=sleep, source=source)  # type: ignore[arg-type]
    if decide(snap, NOW).replicas == 0:
        assert sleep.quiet_s is not None
        assert min(sleep.quiet_s, sleep.awake_s) >= sleep.after_s
        assert not sleep.wanted


@given(snapshots(), SLEEPS, SOURCES)
def test_a_tier_that_sleeps_gets_one_replica_when_it_is_wanted_and_else_none(
    snap: TierSnapshot, sleep: Sleep, source: str
):
    snap = replace(snap, replicas=0, sleep=sleep, source=source)  # type: ignore[arg-type]

    assert decide(snap, NOW).replicas == int(sleep.wanted)


@given(snapshots(), st.integers(0, 2))
def test_one_blind_metric_is_enough_not_to_shrink(snap: TierSnapshot, at: int):
    at %= len(snap.targets)
    blind = replace(snap.targets[at], reading=Missing())
    snap = replace(snap, targets=(*snap.targets[:at], blind, *snap.targets[at + 1 :]))

    assert decide(snap, NOW).replicas >= min(snap.replicas, snap.replicas_max)


@given(snapshots())
def test_when_nobody_measures_nothing_shrinks(snap: TierSnapshot):
    snap = replace(snap, source="Silent")

    assert decide(snap, NOW).replicas >= min(snap.replicas, snap.replicas_max)


@given(
    snapshots(),
    st.sampled_from(["TTFT", "Concurrency", "Queue"]),
    st.floats(0, 1e5),
    st.floats(0, 1e5),
)
def test_more_load_never_means_fewer_replicas(snap: TierSnapshot, kind: str, one: float, other: float):
    low, high = sorted((one, other))

    def asked(value: float) -> int:
        target = Target("m", kind, 2.0, fresh(value))  # type: ignore[arg-type]
        return decide(replace(snap, targets=(target,), in_flight=fresh(value)), NOW).replicas

    assert asked(low) <= asked(high)


def test_what_is_wrong_with_a_query_is_said_in_the_words_of_whoever_refused_it():
    assert decide(replace(CALM, targets=(MINE,)), NOW).message == (
        "No fresh and complete value of mine (1:4: parse error); holding"
    )


SILENT_ENGINES = {
    "by the load: not while engines are silent": ("LoadFits", "all", (3, "MetricsPartlyStale")),
    "nor while one of them is": ("LoadFits", "some", (3, "MetricsPartlyStale")),
    "by the load, and they tell": ("LoadFits", "", (1, "LoadFits")),
    "money needs no engine's word": ("AboveBudget", "all", (1, "AboveBudget")),
}


@pytest.mark.parametrize(("cause", "silent", "want"), SILENT_ENGINES.values(), ids=SILENT_ENGINES)
def test_a_plan_that_shrinks_a_tier(cause: str, silent: Silent, want: tuple[int, str]):
    planned = TierPlan(1, cause, "Because", "OwnShare", 1, 1.0, 1.0)
    snap = replace(CALM, targets=(), wishes=(), planned=planned, engines_silent=silent)
    got = decide(snap, NOW)

    assert (got.replicas, got.reason) == want
