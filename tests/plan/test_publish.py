"""What routers are told moves only when it is news."""

from typing import Any

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.plan import planner, publish
from modelfleet.plan.fleet import Planned, Planning
from modelfleet.plan.group import Group
from modelfleet.plan.planner import Settings, State, TierPlan
from modelfleet.plan.publish import Carries
from modelfleet.plan.snapshot import Name
from tests.make import NAMESPACE, cascade
from tests.plan.calm_look import CALM

TIERS = tuple(Name(NAMESPACE, name) for name in ("small", "big"))
CHAT = cascade(
    "chat", tiers=[{"name": one.name, "tierRef": {"name": one.name}} for one in TIERS], slo={"itlP95": "50ms"}
)
NAME = Name(NAMESPACE, "chat")


def planned(*carries_rps: float, pooled: bool = True) -> Planned:
    tiers = tuple(TierPlan(1, "Fits", "", "Together", 1, rate, 4 * rate) for rate in carries_rps)
    group = Group(NAME, (NAME,), TIERS, pooled)
    return Planned(Planning(group, CALM, State(), Settings()), planner.Plan(tiers, 1.0, 1.0), State())


SHOWN = {"small": Carries(36_000, 40), "big": Carries(18_000, 20)}
CASES = {
    "told for the first time": (planned(10.0, 5.0), CHAT, {}, SHOWN),
    "a little more is no news": (planned(10.4, 5.0), CHAT, SHOWN, SHOWN),
    "much more is": (
        planned(11.0, 5.0),
        CHAT,
        SHOWN,
        {"small": Carries(39_600, 44), "big": Carries(18_000, 20)},
    ),
    "a plan that knows nothing changes nothing": (planned(0.0, 0.0), CHAT, SHOWN, SHOWN),
    "not where peaks are not shared": (planned(10.0, 5.0, pooled=False), CHAT, SHOWN, {}),
    "not where weights are fixed": (
        planned(10.0, 5.0),
        CHAT.model_copy(
            update={
                "spec": CHAT.spec.model_copy(
                    update={"weights": CHAT.spec.weights.model_copy(update={"mode": "Fixed"})}
                )
            }
        ),
        SHOWN,
        {},
    ),
}


@pytest.mark.parametrize(("found", "chat", "shown", "want"), CASES.values(), ids=CASES)
def test_law(found: Planned, chat: Cascade, shown: publish.Law, want: publish.Law):
    assert publish.law(found, NAME, chat, part=1.0, shown=shown) == want


def test_a_cascade_has_its_part_of_every_replica():
    found = publish.law(planned(10.0, 5.0), NAME, CHAT, part=0.5, shown={})

    assert found == {"small": Carries(18_000, 20), "big": Carries(9_000, 10)}


def told(*per_hour: int, **spec: Any) -> Cascade:
    names = ("small", "medium", "big")[: len(per_hour)]
    tiers = [{"name": name, "tierRef": {"name": name}} for name in names]
    tiers[-1]["targetShare"] = 30
    shown = [
        {"name": name, "carriesPerHour": count, "underWay": 4}
        for name, count in zip(names, per_hour, strict=True)
        if count
    ]
    return cascade("chat", tiers=tiers, slo={"itlP95": "50ms"}, status={"tiers": shown}, **spec)


WEIGHTS = {
    "two tiers": (told(100, 50), {"small": 700, "medium": 300}),
    "those before the last by what they carry": (
        told(300, 100, 50),
        {"small": 525, "medium": 175, "big": 300},
    ),
    "thirds leave no rest": (told(100, 200, 50), {"small": 234, "medium": 466, "big": 300}),
    "nothing is known of one": (told(100, 0, 50), None),
    "the user keeps them": (told(100, 50, weights={"mode": "Fixed"}), None),
}


@pytest.mark.parametrize(("chat", "want"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(chat: Cascade, want: dict[str, int] | None):
    assert publish.weights(chat) == want
