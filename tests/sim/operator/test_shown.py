"""The simulated fleet in the words of a metrics store."""

from dataclasses import replace

import pytest

from modelfleet.plan.snapshot import Name
from modelfleet.router import metrics
from modelfleet.sim.meter import SCORE_BOUNDS, Meter
from modelfleet.sim.operator.shown import fleet_load
from tests.sim.policies.rows import CALM, seen

CHAT, SMALL = Name("ns", "chat"), Name("ns", "llama-8b")


def meter(answers: int) -> Meter:
    """A minute with as many answers in each of its twelve scrapes."""
    found = Meter(5.0)
    for _ in range(12):
        for _ in range(answers):
            found.slot.arrivals += 1
            found.answered(prompt=100, cached=25, output=50, ttft_s=0.2, itl_s=0.02, good=True, lasted_s=1.5)
            found.judged(-0.42, escalated=False)
        found.turn()
    return found


def test_windows_of_a_tier_and_of_the_cascade():
    shown = replace(seen(replace(CALM, meter=meter(10), kv=[0.2, 0.6])), whole=meter(10), entered=30, refused=2, answered=[9])  # fmt: skip
    load = fleet_load(shown, cascade=CHAT, tiers={"small": SMALL}, since_s=15.0)
    tier, chat = load.tiers[SMALL], load.cascades[CHAT]

    assert (tier.rate_rps, tier.prompt_tokens, tier.cached_share, tier.answer_s) == (2.0, 100.0, 0.25, 1.5)
    assert (tier.kv_used, tier.engines) == (0.6, 2)
    assert tier.itl is not None
    assert tier.itl.mean == pytest.approx(0.02)
    assert (chat.arrived, chat.failed, chat.counts) == (30, 2, (30.0, 30.0, 30.0, 30.0))
    kept = chat.kept(ttft_s=0.2, itl_s=0.05)
    assert kept is not None
    assert (kept.answers, kept.good) == (30, 30)
    assert load.answered == {CHAT: {"small": 9.0}}
    assert chat.steps["small"].judged == 120


def test_scores_are_counted_in_the_routers_own_buckets():
    assert SCORE_BOUNDS == metrics._SCORE


def test_a_cascade_that_judges_nothing_has_no_scores():
    shown = replace(seen(), whole=Meter(5.0))
    load = fleet_load(shown, cascade=CHAT, tiers={"small": SMALL}, since_s=15.0)

    assert load.cascades[CHAT].steps["small"].judged is None
    assert load.tiers[SMALL].prompt_tokens is None
