import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.judging import OPEN_THRESHOLD
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.thresholds import Bar, Threshold, choose
from modelfleet.router.metrics import RouterMetrics

# A thousand scores, evenly between -1 and 0: the quantile of a share is that share less one.
EVEN = Buckets((-1.0, -0.5, 0.0, math.inf), (0.0, 500.0, 1000.0, 1000.0))
SMALL = Bar(
    "small", 0.7, judges=True, chosen=True, judged=1000.0, scored=1000.0, escalated=300.0, scores=EVEN
)
MEDIUM = replace(SMALL, name="medium", target=0.25)
FRONTIER = Bar("frontier", 0.05, judges=False, chosen=False)
ALL = (SMALL, MEDIUM, FRONTIER)
ENTRY = {"small": 1000, "medium": 0, "frontier": 0}


def cascade(
    *, small: dict[str, object] | None = None, medium: dict[str, object] | None = None
) -> tuple[Bar, ...]:
    return (
        replace(SMALL, **(small or {})),  # type: ignore[arg-type]
        replace(MEDIUM, **(medium or {})),  # type: ignore[arg-type]
        FRONTIER,
    )


CASES: dict[str, tuple[Sequence[Bar], dict[str, int], int, dict[str, float]]] = {
    "70/25/5: 30 % move on from small, a sixth of those from medium": (
        ALL,
        ENTRY,
        2,
        {"small": -0.7, "medium": -0.8333},
    ),
    "a fifth starts at medium: less has to move on from small": (
        ALL,
        {"small": 800, "medium": 200, "frontier": 0},
        2,
        {"small": -0.875, "medium": -0.8333},
    ),
    "all starts at the frontier: nothing moves on": (
        ALL,
        {"small": 0, "medium": 0, "frontier": 1000},
        2,
        {"small": OPEN_THRESHOLD, "medium": OPEN_THRESHOLD},
    ),
    "small has no target, the others have": (
        cascade(small={"target": None}),
        ENTRY,
        2,
        {"small": -0.7, "medium": -0.8333},
    ),
    "only medium has one: what starts at the frontier is all it gets": (
        (
            replace(SMALL, target=None),
            replace(MEDIUM, judges=False, chosen=False),
            replace(FRONTIER, target=None),
        ),
        {"small": 900, "medium": 0, "frontier": 100},
        1,
        {"small": -0.7222},
    ),
    "medium's bar is the user's: what it lets pass is measured": (
        (SMALL, replace(MEDIUM, chosen=False, target=None), replace(FRONTIER, target=None)),
        ENTRY,
        2,
        {"small": -0.7},
    ),
    "small's bar is the user's: medium gets what it lets pass": (
        cascade(small={"chosen": False}),
        ENTRY,
        2,
        {"medium": -0.8333},
    ),
    "validators send a tenth on whatever the bar: the score does the rest": (
        cascade(small={"scored": 900.0}),
        ENTRY,
        2,
        {"small": -0.7778, "medium": -0.8333},
    ),
    "validators send more on than should be: the bar is open": (
        cascade(small={"scored": 500.0}),
        ENTRY,
        2,
        {"small": OPEN_THRESHOLD, "medium": -0.8333},
    ),
    "nothing was scored yet: open until it was": (
        cascade(small={"scores": None}, medium={"scores": None}),
        ENTRY,
        2,
        {"small": OPEN_THRESHOLD, "medium": OPEN_THRESHOLD},
    ),
    "too few were scored: what was published stays": (
        cascade(small={"scores": Buckets((-1.0, 0.0, math.inf), (0.0, 49.0, 49.0)), "published": -0.3}),
        ENTRY,
        2,
        {"small": -0.3, "medium": -0.8333},
    ),
    "within two points: stays, tables are not written for nothing": (
        cascade(small={"published": -0.715}),
        ENTRY,
        2,
        {"small": -0.715, "medium": -0.8333},
    ),
    "beyond two points: moves": (
        cascade(small={"published": -0.725}),
        ENTRY,
        2,
        {"small": -0.7, "medium": -0.8333},
    ),
    "many scores in the last minute: those count": (
        cascade(small={"scores_now": Buckets((-2.0, 0.0, math.inf), (0.0, 400.0, 400.0))}),
        ENTRY,
        2,
        {"small": -1.4, "medium": -0.8333},
    ),
    "few scores in the last minute: those of the last ten count": (
        cascade(small={"scores_now": Buckets((-2.0, 0.0, math.inf), (0.0, 399.0, 399.0))}),
        ENTRY,
        2,
        {"small": -0.7, "medium": -0.8333},
    ),
}


@pytest.mark.parametrize(("bars", "entries", "moves", "want"), CASES.values(), ids=CASES)
def test_choose(bars: Sequence[Bar], entries: dict[str, int], moves: int, want: dict[str, float]):
    got = choose(bars, entries, escalations_max=moves)

    assert {name: each.value for name, each in got.items()} == want
    assert not any(each.short for each in got.values())


def test_a_tier_that_may_not_pass_on_enough_says_so():
    got = choose(ALL, ENTRY, escalations_max=1)

    # What medium gets has moved on once already.
    assert got == {"small": Threshold(-0.7, short=False), "medium": Threshold(OPEN_THRESHOLD, short=True)}


def test_without_any_escalation_nothing_can_move_on():
    got = choose(ALL, ENTRY, escalations_max=0)

    assert got["small"] == Threshold(OPEN_THRESHOLD, short=True)


@given(
    target=st.floats(0.0, 1.0),
    counts=st.lists(st.floats(0, 1e6), min_size=4, max_size=4),
    entry=st.integers(0, 1000),
    published=st.none() | st.floats(-1000, 0),
)
def test_a_threshold_is_always_one_that_a_router_takes(
    target: float, counts: list[float], entry: int, published: float | None
):
    scores = Buckets((-1.0, -0.5, 0.0, math.inf), tuple(sorted(counts)))
    bar = replace(SMALL, target=target, scores=scores, published=published)

    got = choose((bar, FRONTIER), {"small": entry, "frontier": 1000 - entry}, escalations_max=1)

    assert OPEN_THRESHOLD <= got["small"].value <= 0


def scored(draw: Sequence[float]) -> Buckets:
    """As a router counts them, and a metrics store hands them back."""
    stats = RouterMetrics("ns").tier("c", "t", "m")
    for score in draw:
        stats.score.observe(score)
    found = Buckets.of({float(le): float(count) for le, count in stats.score.buckets()})
    assert found is not None
    return found


def answered(
    chosen: dict[str, Threshold], small: Sequence[float], medium: Sequence[float], *, direct: float = 0.0
) -> tuple[float, float, float]:
    """Where answers come from, when `direct` of the requests start at medium."""
    rng, counts = random.Random(2), [0, 0, 0]
    for at_small, at_medium in zip(small, medium, strict=True):
        if rng.random() >= direct and at_small >= chosen["small"].value:
            counts[0] += 1
        elif at_medium >= chosen["medium"].value:
            counts[1] += 1
        else:
            counts[2] += 1
    return (counts[0] / len(small), counts[1] / len(small), counts[2] / len(small))


def draws(seed: int, mean: float, count: int) -> list[float]:
    """Mean log probabilities of answers: many are sure, a few are not at all."""
    rng = random.Random(seed)
    return [-rng.gammavariate(1.6, mean / 1.6) for _ in range(count)]


@pytest.mark.parametrize("mean", [0.05, 0.25, 0.8], ids=["sure", "plain", "unsure"])
@pytest.mark.parametrize("direct", [0.0, 0.2], ids=["all start small", "a fifth starts at medium"])
def test_the_shares_come_out_with_the_first_decision(mean: float, direct: float):
    bars = cascade(
        small={"scores_now": scored(draws(3, mean, 1000))},
        medium={"scores_now": scored(draws(4, mean / 2, 1000))},
    )
    entries = {"small": round(1000 * (1 - direct)), "medium": round(1000 * direct), "frontier": 0}

    got = choose(bars, entries, escalations_max=2)

    shares = answered(got, draws(5, mean, 20_000), draws(6, mean / 2, 20_000), direct=direct)
    assert shares == pytest.approx((0.7, 0.25, 0.05), abs=0.04)


def test_when_the_work_gets_harder_the_next_decision_has_the_shares_again():
    calm = choose(
        cascade(
            small={"scores_now": scored(draws(3, 0.2, 1000))},
            medium={"scores_now": scored(draws(4, 0.1, 1000))},
        ),
        ENTRY,
        escalations_max=2,
    )
    harder = draws(7, 0.5, 20_000), draws(8, 0.25, 20_000)
    before = answered(calm, *harder)

    bars = cascade(
        small={"scores_now": scored(draws(9, 0.5, 1000)), "published": calm["small"].value},
        medium={"scores_now": scored(draws(10, 0.25, 1000)), "published": calm["medium"].value},
    )
    after = answered(choose(bars, ENTRY, escalations_max=2), *harder)

    assert before[0] < 0.5
    assert after == pytest.approx((0.7, 0.25, 0.05), abs=0.04)
