"""A tier without a profile learns from its answers how much it may have under way."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.plan.fill import LEAST, Fill, carried, seen


@dataclass(frozen=True)
class Tier:
    """Four replicas with seven of ten slots each would carry 28 requests a second; they get 24."""

    engine: object | None = None
    slots: int = 10
    answer_s: float | None = 1.0
    ready: int = 4
    starting: int = 0
    replicas: int = 4
    replicas_max: int = 100
    waiting: float = 0.0
    rate_rps: float = 24.0
    answers: float = 360.0
    good: float = 360.0


CALM = Tier()
MISSES = replace(CALM, good=270.0)


def looks(*tiers: Tier, fill: Fill | None = None) -> Fill:
    found: tuple[Fill, ...] = () if fill is None else (fill,)
    for tier in (
        tiers[0],
        *tiers,
    ):  # the first look at so many replicas tells whose answers the next ones are
        found = seen([tier], found, goal=0.99, seconds=15.0)
    return found[0]


CUT = 6 / 7 * 0.6 + 0.4 * 6 / 7 * (
    1 - 0.25 / 0.3
)  # of the load it had, by a quarter of misses in three tenths
CASES = {
    "kept: all that its slots allow": (CALM, 1.0),
    "missed: less than it had under way": (MISSES, CUT),
    "one of a hundred may miss": (replace(CALM, good=356.0), 1.0),
    "too few to tell": (replace(CALM, answers=20.0, good=0.0), 1.0),
    "a profile tells": (replace(MISSES, engine="8b-h100"), 1.0),
    "one starts": (replace(MISSES, starting=1), 1.0),
    "one is not there yet": (replace(MISSES, ready=3), 1.0),
    "a burst waits": (replace(MISSES, waiting=5.0), 1.0),
    "nobody answered ever": (replace(MISSES, answer_s=None), 1.0),
    "it sleeps": (replace(MISSES, ready=0, replicas=0), 1.0),
    "far below its slots, too": (replace(MISSES, rate_rps=2.8), pytest.approx(CUT / 8.5714, rel=0.01)),
}


@pytest.mark.parametrize(("tier", "want"), CASES.values(), ids=CASES)
def test_what_one_look_teaches(tier: Tier, want: float) -> None:
    assert looks(tier).factor == pytest.approx(want)


def test_what_it_may_carry_is_that_part_of_its_slots() -> None:
    assert carried(CALM, Fill()).bound == "Slots"
    assert carried(CALM, Fill(0.5)).rate_rps == pytest.approx(3.5)
    assert carried(CALM, Fill(0.5)).under_way == pytest.approx(3.5)
    assert carried(CALM, Fill(0.5)).bound == "SLO"
    assert not carried(replace(CALM, answer_s=None), Fill(0.5)).known


def test_what_has_been_cut_is_not_cut_again_before_it_is_there() -> None:
    once = looks(MISSES)

    assert looks(*[MISSES] * 10, fill=once).factor == once.factor


def test_what_waits_after_it_has_shrunk_tells_that_it_should_not_have() -> None:
    overrun = replace(MISSES, waiting=50.0)
    more = replace(CALM, ready=6, replicas=6)

    assert looks(overrun, fill=looks(more)).factor < 1.0
    assert looks(*[CALM] * 60, overrun, fill=looks(more)).factor == 1.0  # a quarter of an hour later


def test_what_is_kept_under_load_earns_some_back_and_idling_hardly_any() -> None:
    hour = [replace(CALM, rate_rps=12.0)] * 240
    idle = [replace(CALM, rate_rps=1.0)] * 240

    assert looks(*hour, fill=Fill(0.5)).factor == pytest.approx(0.61, abs=0.01)
    assert looks(*idle, fill=Fill(0.5)).factor == pytest.approx(0.5, abs=0.01)
    # Not beyond what it has shown to keep.
    assert looks(*hour * 12, fill=Fill(0.5)).factor == pytest.approx(0.75, abs=0.01)
    assert looks(*[replace(CALM, rate_rps=28.0)] * 2400, fill=Fill(0.5)).factor == 1.0


def live(missed: Callable[[float], float], *, hours: float, most: int = 100) -> list[tuple[int, Fill]]:
    """Replicas and what was learned by look, where `missed` says what part misses at so many requests per replica."""
    replicas, starts, fills, found = 4, 0, (Fill(),), []
    for _ in range(round(hours * 240)):
        part = missed(24.0 / replicas)
        now = replace(
            CALM,
            replicas=replicas + starts,
            ready=replicas,
            starting=starts,
            replicas_max=most,
            good=360.0 * (1 - part),
        )
        fills = seen([now], fills, goal=0.99, seconds=15.0)
        needed = min(most, -int(-24.0 // carried(now, fills[0]).rate_rps))
        replicas, starts = replicas + starts, max(0, needed - replicas - starts)
        found.append((replicas, fills[0]))
    return found


@pytest.mark.parametrize("knee", [5.0, 2.0, 0.7])
def test_it_comes_to_keep_its_objectives_and_not_at_any_price(knee: float) -> None:
    """All is kept below so many requests a replica, and all missed from a fifth above."""
    runs = live(lambda load: min(1.0, max(0.0, 5 * (load / knee - 1))), hours=6)
    needed = 24.0 / knee

    assert all(replicas >= 0.9 * needed for replicas, _ in runs[240:])
    assert all(replicas <= 1.8 * needed + 1 for replicas, _ in runs[240:])


@pytest.mark.parametrize("most", [100, 9], ids=["any number of replicas", "nine at most"])
def test_what_more_replicas_do_not_mend_they_are_not_ordered_for(most: int) -> None:
    runs = live(lambda _: 0.5, hours=2, most=most)

    assert max(replicas for replicas, _ in runs) <= 60
    assert runs[-1][1].factor == 1.0
    assert runs[-1][1].rests_s > 3600


LOOKS = st.lists(
    st.builds(
        lambda ready, more, waiting, rate, answers, good: replace(
            CALM, ready=ready, replicas=ready + more, starting=more, waiting=waiting, rate_rps=rate,
            answers=answers, good=answers * good,
        ),
        st.integers(0, 5), st.integers(0, 1), st.floats(0, 20), st.floats(0, 1e4), st.floats(0, 1e5), st.floats(0, 1),
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip


@given(LOOKS)
def test_whatever_is_seen_the_factor_stays_within_its_bounds(tiers: list[Tier]) -> None:
    assert LEAST <= looks(*tiers).factor <= 1.0
