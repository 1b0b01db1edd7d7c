from dataclasses import replace

import pytest

from modelfleet.plan.controls import fall_back, observe
from modelfleet.plan.rules import Verdict
from modelfleet.plan.snapshot import Fallback, TierSnapshot
from tests.plan.calm_tier import CALM

BLIND = Verdict(3, "MetricsStale", "No fresh value", 3, active=False)
GROWS = Verdict(5, "LoadAhead", "More is coming", 5)
LOST = replace(CALM, blind_for_s=200.0, fallback=Fallback(5, after_s=180.0))

FALLBACKS = {
    "blind for long: at least so many": (LOST, BLIND, (5, "Fallback")),
    "blind for a moment: holds": (replace(LOST, blind_for_s=179.0), BLIND, (3, "MetricsStale")),
    "more than that run already: they stay": (
        replace(LOST, replicas=6),
        replace(BLIND, replicas=6),
        (6, "Fallback"),
    ),
    "above maxReplicas: the maximum": (replace(LOST, replicas_max=4), BLIND, (4, "Fallback")),
    "nothing is said: holds": (replace(LOST, fallback=None), BLIND, (3, "MetricsStale")),
    "metrics are there: as decided": (LOST, GROWS, (5, "LoadAhead")),
    "pinned: as pinned": (LOST, replace(BLIND, reason="Pinned"), (3, "Pinned")),
}


@pytest.mark.parametrize(("snap", "verdict", "want"), FALLBACKS.values(), ids=FALLBACKS)
def test_fall_back(snap: TierSnapshot, verdict: Verdict, want: tuple[int, str]):
    got = fall_back(verdict, snap)

    assert (got.replicas, got.reason) == want


WATCHED = replace(CALM, observe=True)
OBSERVED = {
    "it would grow: stays, and says so": (WATCHED, GROWS, (3, "Observing", 5)),
    "it would stay: says so": (WATCHED, replace(GROWS, replicas=3), (3, "Observing", 3)),
    "it would shrink": (WATCHED, Verdict(1, "BelowTarget", "", 1), (3, "Observing", 1)),
    "it would go to sleep": (WATCHED, Verdict(0, "Idle", "", 0), (3, "Observing", 0)),
    "it would fall back": (WATCHED, Verdict(5, "Fallback", "", 5, active=False), (3, "Observing", 5)),
    "nothing can be told: why not": (WATCHED, BLIND, (3, "MetricsStale", None)),
    "pinned: as pinned": (WATCHED, Verdict(5, "Pinned", "", 5, active=False), (5, "Pinned", None)),
    "a request waits for a tier that sleeps": (
        replace(WATCHED, replicas=0),
        Verdict(1, "WokenUp", "", 1),
        (1, "WokenUp", None),
    ),
    "not observed: as decided": (CALM, GROWS, (5, "LoadAhead", None)),
}


@pytest.mark.parametrize(("snap", "verdict", "want"), OBSERVED.values(), ids=OBSERVED)
def test_observe(snap: TierSnapshot, verdict: Verdict, want: tuple[int, str, int | None]):
    got = observe(verdict, snap)

    assert (got.replicas, got.reason, got.instead.replicas if got.instead else None) == want


def test_what_would_be_done_is_said_with_its_reason():
    assert observe(GROWS, WATCHED).message == "scaling.mode is Observe: it would run 5 replicas (LoadAhead)"
