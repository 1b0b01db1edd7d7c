"""The tiers of `engines.py` in the simulator: the same arrivals, the same engine, the same law."""

from collections.abc import Sequence
from dataclasses import replace

from e2e.scenarios import engines
from modelfleet.plan.engine import Engine
from modelfleet.plan.planner import Settings
from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Arrival, Cascade, ColdStart, Conditions, Slo, Tier
from modelfleet.sim.policies.ours import Joint
from modelfleet.sim.policy import Policy
from modelfleet.sim.tally import Tally
from modelfleet.sim.world import World

# A pod that goes waits this long for the routers to let go of it, and then for its end to be seen.
GOING_S = 6.0


class Planner(Joint):
    """Ours, looking as often as the operator of these scenarios does, with what that one is set to."""

    look_s = 5.0

    def __init__(self, *, down_window_s: float) -> None:
        super().__init__(Settings(goal=0.97, down_s=down_window_s))


def engine(places: int) -> Engine:
    """The stand-in's, by the clock."""
    profile = PROFILES[engines.PROFILE]
    slow = 1 / engines.SPEED
    return replace(
        profile.times(slow),
        prefill_step_s_min=profile.prefill_step_s_min * slow,
        first_token_s=profile.first_token_s * slow,
        sequences_max=places,
    )


def arrivals(steps: Sequence[tuple[float, float]], *, output: int, seed: int) -> list[Arrival]:
    """As `engines.load` sends them."""
    return list(staged(steps, prompt=engines.PROMPT, output=output, seed=seed))


def run(
    policy: Policy,
    came: Sequence[Arrival],
    *,
    seed: int,
    seconds: float,
    cold_start_s: float,
    places: int,
    replicas_max: int,
    slo: Slo,
) -> Tally:
    """One tier under this load, `seconds` from its first request on."""
    tier = Tier(
        "big",
        engine(places),
        cold=ColdStart(0.0, 0.0, cold_start_s, spread=0.0),
        replicas_start=1,
        replicas_max=replicas_max,
    )
    conditions = Conditions(scrape_s=5.0, lag_s=5.0)
    world = World(Cascade((tier,), slo=slo), came, policy, conditions=conditions, seed=seed)
    return world.run(seconds)


def pod_s(tally: Tally) -> float:
    """Seconds that its pods lived, all together, with the end that the simulator does not know."""
    (course,) = tally.courses.values()
    return tally.gpu_h * 3600 + GOING_S * len(course.downs_at_s)
