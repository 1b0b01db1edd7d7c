"""What Cascades ask of their tiers together."""

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.plan import demand
from modelfleet.plan.load import CascadeLoad, StepLoad
from modelfleet.plan.sizing import Objectives
from modelfleet.plan.snapshot import Name
from tests.make import NAMESPACE, cascade, external_tier, tier


def steps(*named: str, share: int | None = None) -> list[dict[str, object]]:
    made: list[dict[str, object]] = [{"name": one, "tierRef": {"name": one}} for one in named]
    if share is not None:
        made[-1]["targetShare"] = share
    return made


CHAT = cascade("chat", tiers=steps("small", "big", share=30), slo={"ttftP95": "800ms", "itlP95": "50ms"})
BULK = cascade("bulk", tiers=steps("big"), slo={"ttftP95": "2s"})
BUSY = CascadeLoad(counts=(30.0, 30.0))

SHARES = {
    "one cascade": ({"chat": (CHAT, BUSY)}, {"small": 0.7, "big": 0.3}),
    "two that are equally busy": (
        {"chat": (CHAT, BUSY), "bulk": (BULK, BUSY)},
        {"small": 0.35, "big": 0.65},
    ),
    "one of them is idle": (
        {"chat": (CHAT, BUSY), "bulk": (BULK, CascadeLoad(counts=(0.0, 0.0)))},
        {"small": 0.7, "big": 0.3},
    ),
    "nobody asks anything": (
        {"chat": (CHAT, CascadeLoad()), "bulk": (BULK, CascadeLoad())},
        {"small": 0.35, "big": 0.65},
    ),
    "answers are judged": (
        {
            "chat": (
                cascade("chat", tiers=steps("small", "big")),
                CascadeLoad(counts=(1.0,), steps={"small": StepLoad(judged=50.0, escalated=20.0)}),
            )
        },
        {"small": 1.0, "big": 0.4},
    ),
    "a tier that is missing passes its part on": (
        {"chat": (cascade("chat", tiers=steps("small", "gone", share=30)), BUSY)},
        {"small": 1.0},
    ),
    "a suspended one, too": (
        {"chat": (cascade("chat", tiers=steps("small", "off", share=30)), BUSY)},
        {"small": 1.0},
    ),
    "an external one keeps its part": (
        {"chat": (cascade("chat", tiers=steps("small", "api", share=20)), BUSY)},
        {"small": 0.8, "api": 0.2},
    ),
}


@pytest.mark.parametrize(("given", "want"), SHARES.values(), ids=SHARES)
def test_shares(given: dict[str, tuple[Cascade, CascadeLoad]], want: dict[str, float]):
    tiers = [tier("small"), tier("big"), tier("off", suspend=True), external_tier("api")]
    found = demand.shares(
        {Name(NAMESPACE, name): one for name, (one, _) in given.items()},
        {Name(NAMESPACE, name): load for name, (_, load) in given.items()},
        {Name(NAMESPACE, one.metadata.name): one for one in tiers},
    )

    assert {name.name: share for name, share in found.items()} == pytest.approx(want)


def test_the_strictest_objectives_hold():
    assert demand.goals([CHAT, BULK]) == Objectives(0.8, 0.05)
    assert demand.given(demand.goals([BULK]).itl_s) is None


def test_who_counts_for_a_shorter_time_had_nothing_before():
    assert demand.added([(1.0, 2.0, 3.0), (10.0,)]) == [1.0, 2.0, 13.0]
    assert demand.added([]) == []


def test_past_rates_are_those_before_the_present_look():
    assert demand.past_rates((15.0, 30.0, 45.0), interval_s=15.0, look_s=15.0) == (1.0, 2.0)
    assert demand.past_rates((15.0, 30.0, 45.0), interval_s=15.0, look_s=5.0) == (
        1.0,
        1.0,
        1.0,
        2.0,
        2.0,
        2.0,
    )
    assert demand.past_rates((), interval_s=15.0, look_s=15.0) == ()
