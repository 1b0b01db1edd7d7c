from modelfleet.api.cascade import Cascade
from modelfleet.control.capacity.bars import bars
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import CascadeLoad, StepLoad
from modelfleet.plan.thresholds import Bar
from tests.make import cascade

SCORES = Buckets((-1.0, 0.0, float("inf")), (1.0, 9.0, 9.0))


def chosen(**accept: str) -> Cascade:
    rule = {"signal": "MeanLogprob", **accept}
    tiers = [
        {"name": "small", "tierRef": {"name": "small"}, "targetShare": 70, "accept": rule},
        {"name": "frontier", "tierRef": {"name": "frontier"}},
    ]
    return cascade(tiers=tiers, status={"tiers": [{"name": "small", "threshold": "-0.31"}]})


def test_every_tier_is_told_with_what_routers_said_of_it():
    seen = StepLoad(judged=9.0, scored=8.0, escalated=3.0, scores=SCORES, scores_now=SCORES)

    assert bars(chosen(), CascadeLoad(steps={"small": seen})) == (
        Bar("small", 0.7, judges=True, chosen=True, published=-0.31, judged=9.0, scored=8.0, escalated=3.0,
            scores=SCORES, scores_now=SCORES),
        Bar("frontier", None, judges=False, chosen=False),
    )  # fmt: skip


def test_without_fresh_numbers_what_was_published_is_all_that_is_known():
    assert bars(chosen(), None)[0] == Bar("small", 0.7, judges=True, chosen=True, published=-0.31)


def test_a_cascade_with_thresholds_of_its_own_has_none_to_choose():
    assert bars(chosen(threshold="-0.5"), None) == ()
