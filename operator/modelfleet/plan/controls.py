"""What the user's controls make of a decision, whoever made it: the rules of `rules.py` or the planner."""

from modelfleet.plan.rules import Verdict
from modelfleet.plan.snapshot import TierSnapshot

BY_HAND = frozenset({"Paused", "Suspended", "Pinned"})
# Requests wait at a tier that runs nothing, and would wait for ever.
_NOT_SHOWN_ONLY = BY_HAND | {"WokenUp"}


def fall_back(verdict: Verdict, snap: TierSnapshot) -> Verdict:
    """What scaling.fallback asks for where nothing could be measured for long; never fewer than there are."""
    fallback = snap.fallback
    if verdict.reason != "MetricsStale" or fallback is None or snap.blind_for_s < fallback.after_s:
        return verdict
    replicas = max(snap.replicas, min(fallback.replicas, snap.replicas_max))
    message = "No metric can be read; scaling.fallback says how many replicas to have at least"
    return Verdict(replicas, "Fallback", message, replicas, active=False)


def observe(verdict: Verdict, snap: TierSnapshot) -> Verdict:
    """In mode Observe: the replicas that are there, and what would have been done instead."""
    nothing_to_say = not verdict.active and verdict.replicas == snap.replicas
    if not snap.observe or nothing_to_say or verdict.reason in _NOT_SHOWN_ONLY:
        return verdict
    unread = f"; no value of {', '.join(verdict.unread)}" if verdict.unread else ""
    message = f"scaling.mode is Observe: it would run {verdict.replicas} replicas ({verdict.reason}){unread}"
    return Verdict(snap.replicas, "Observing", message, verdict.wish, active=False, instead=verdict)
