"""What is known of the tiers whose accept threshold is ours to choose, in the planner's words: decides nothing."""

from modelfleet.api.cascade import Cascade, CascadeTier
from modelfleet.plan.load import CascadeLoad, StepLoad
from modelfleet.plan.thresholds import Bar

_PERCENT = 100


def bars(cascade: Cascade, load: CascadeLoad | None) -> tuple[Bar, ...]:
    """All tiers of a Cascade that leaves a threshold to us; none otherwise.  `load` None: nothing fresh is known."""
    if not any(chosen(step) for step in cascade.spec.tiers):
        return ()
    published = {tier.name: tier.threshold for tier in cascade.status.tiers}
    return tuple(
        _bar(step, published.get(step.name), (load.steps if load else {}).get(step.name, StepLoad()))
        for step in cascade.spec.tiers
    )


def chosen(step: CascadeTier) -> bool:
    """Whether the user left the threshold of this tier out."""
    return step.accept is not None and step.accept.threshold is None


def _bar(step: CascadeTier, published: str | None, seen: StepLoad) -> Bar:
    return Bar(
        name=step.name,
        target=None if step.target_share is None else step.target_share / _PERCENT,
        judges=step.accept is not None,
        chosen=chosen(step),
        published=None if published is None else float(published),
        judged=seen.judged,
        scored=seen.scored,
        escalated=seen.escalated,
        scores=seen.scores,
        scores_now=seen.scores_now,
    )
