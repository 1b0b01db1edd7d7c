"""What else could have been decided on the same look, and at what price: for people who ask why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelfleet.plan import rails
from modelfleet.plan.planner import Look, Settings, State, plan
from modelfleet.plan.sizing import Objectives

_MAX = 1_000_000  # replicas: no bound


@dataclass(frozen=True, slots=True)
class Alternative:
    """Replicas by tier, in the order of the look; price in the unit of the look."""

    what: str
    replicas: tuple[int, ...]
    price: float


def alternatives(look: Look, state: State, settings: Settings) -> list[Alternative]:
    """The present replicas, what the load asks for, and what it would ask for if one thing were otherwise.

    Before any rail.
    """
    loose = Objectives(look.goals.ttft_s * 2, look.goals.itl_s * 2)
    sooner = [replace(tier, lead_s=tier.lead_s / 2) for tier in look.tiers]
    unshared = replace(settings, pooled=False)
    calm = replace(settings, deviations=0.0, reach=0.0)
    found = [
        _priced("as it runs", look, [tier.replicas for tier in look.tiers]),
        _asked("what the load asks for", look, state, settings),
        _asked("objectives twice as loose", replace(look, goals=loose), state, settings),
        _asked("replicas start in half the time", replace(look, tiers=sooner), state, settings),
        _asked("no room for bursts", look, replace(state, deviations=0.0), calm),
    ]
    if settings.pooled and len(look.tiers) > 1:
        found.append(_asked("each tier for its own peak", look, state, unshared))
    return found


def without_each_rail(look: Look, state: State, settings: Settings) -> list[Alternative]:
    """What would be done now if one rail did not hold: of each that holds something, by its reason."""
    unbound = [
        replace(tier, replicas_max=_MAX) if tier.replicas_max > tier.replicas_min else tier
        for tier in look.tiers
    ]
    others = {
        "MetricsStale": (replace(look, complete=True), settings),
        "AtMaximum": (replace(look, tiers=unbound), settings),
        "AtBudget": (replace(look, bounds=()), settings),
        **{rail: (look, replace(settings, without=rail)) for rail in rails.HOLDING},
    }
    now = _done("", look, state, settings)
    found = [_done(rail, seen, state, how) for rail, (seen, how) in others.items()]
    return [one for one in found if one.replicas != now.replicas]


def _done(what: str, look: Look, state: State, settings: Settings) -> Alternative:
    found, _ = plan(look, state, settings)
    return _priced(what, look, [tier.replicas for tier in found.tiers])


def _asked(what: str, look: Look, state: State, settings: Settings) -> Alternative:
    found, _ = plan(look, state, settings)
    return _priced(what, look, [tier.free for tier in found.tiers])


def _priced(what: str, look: Look, replicas: Sequence[int]) -> Alternative:
    price = sum(count * tier.price for count, tier in zip(replicas, look.tiers, strict=True))
    return Alternative(what, tuple(replicas), price)
