"""Who is planned with whom."""

from typing import Any

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.api.model_tier import ModelTier
from modelfleet.plan.group import Group, groups
from modelfleet.plan.snapshot import Name
from tests.make import NAMESPACE, cascade, external_tier, tier

SLO = {"ttftP95": "800ms"}
PLANNED = {"maxReplicas": 4}
OWN = {"maxReplicas": 4, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]}


def named(*names: str, **of: Any) -> list[dict[str, Any]]:
    return [{"name": name, "tierRef": {"name": name}} | of for name in names]


def found(*cascades: Cascade, tiers: tuple[ModelTier, ...] = ()) -> list[Group]:
    known = tiers or (
        *(tier(name, scaling=PLANNED) for name in ("small", "big", "huge")),
        external_tier("api"),
    )
    return groups(
        {Name(NAMESPACE, one.metadata.name): one for one in cascades},
        {Name(NAMESPACE, one.metadata.name): one for one in known},
    )


def told(group: Group) -> tuple[str, list[str], list[str], bool]:
    return (
        group.owner.name,
        [name.name for name in group.cascades],
        [name.name for name in group.tiers],
        group.pooled,
    )


CHAT = cascade("chat", tiers=named("small", "big"), slo=SLO)
CASES = {
    "one cascade": ((CHAT,), [("chat", ["chat"], ["small", "big"], True)]),
    "nobody says what to keep": ((cascade("chat", tiers=named("small")),), []),
    "the same tiers twice are one": (
        (CHAT, cascade("bulk", tiers=named("small", "big"))),
        [("chat", ["bulk", "chat"], ["small", "big"], True)],
    ),
    "a shared tier joins them, and each tier carries its own peak": (
        (CHAT, cascade("code", tiers=named("big", "huge"), slo=SLO)),
        [("chat", ["chat", "code"], ["small", "big", "huge"], False)],
    ),
    "strangers stay strangers": (
        (CHAT, cascade("code", tiers=named("huge"), slo=SLO)),
        [("chat", ["chat"], ["small", "big"], True), ("code", ["code"], ["huge"], True)],
    ),
    "an external tier is nobody's to size, and takes part of the load": (
        (cascade("chat", tiers=named("small", "big", "api"), slo=SLO),),
        [("chat", ["chat"], ["small", "big"], False)],
    ),
    "judged answers are not moved": (
        (
            cascade(
                "chat",
                tiers=[*named("small", accept={"signal": "MeanLogprob", "threshold": "-1"}), *named("big")],
                slo=SLO,
            ),
        ),
        [("chat", ["chat"], ["small", "big"], False)],
    ),
    "pinned weights are not moved": (
        (
            cascade(
                "chat",
                tiers=named("small", "big"),
                slo=SLO,
                annotations={"modelfleet.dev/pin-weights": "small=100"},
            ),
        ),
        [("chat", ["chat"], ["small", "big"], False)],
    ),
    "fixed weights are not moved": (
        (cascade("chat", tiers=named("small", "big"), slo=SLO, weights={"mode": "Fixed"}),),
        [("chat", ["chat"], ["small", "big"], False)],
    ),
}


@pytest.mark.parametrize(("cascades", "want"), CASES.values(), ids=CASES)
def test_groups(cascades: tuple[Cascade, ...], want: list[Any]):
    assert [told(group) for group in found(*cascades)] == want


def test_what_is_suspended_or_missing_is_not_planned():
    (group,) = found(CHAT, tiers=(tier("small"), tier("big", suspend=True)))

    assert told(group)[2] == ["small"]


SOMEBODY_ELSES = {
    "all are planned": (tier("small", scaling=PLANNED), True),
    "one has metrics of its own": (tier("small", scaling=OWN), False),
    "one has a size of its own": (tier("small"), False),
}


@pytest.mark.parametrize(("small", "want"), SOMEBODY_ELSES.values(), ids=SOMEBODY_ELSES)
def test_peaks_are_shared_by_tiers_that_are_planned(small: ModelTier, want: object):
    (group,) = found(CHAT, tiers=(small, tier("big", scaling=PLANNED)))

    assert group.pooled is want
