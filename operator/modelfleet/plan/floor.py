"""What an idle replica takes: no number of replicas keeps an objective below it."""

import math

from modelfleet.plan.engine import Engine
from modelfleet.plan.sizing import Lengths, Objectives, ttft_s

_MS_PER_S = 1000


def too_strict(tier: str, engine: Engine | None, lengths: Lengths | None, goals: Objectives) -> str | None:
    """The objectives that an idle replica does not keep with such requests, and what it takes; None where it does.

    None, too, where nobody knows how fast it is.  Before anything was answered only the time between tokens is known.
    """
    if engine is None:
        return None
    least: list[tuple[str, float, float]] = [("itlP95", goals.itl_s, engine.step_s)]
    if lengths is not None:
        least.insert(0, ("ttftP95", goals.ttft_s, ttft_s(engine, lengths, 0.0)))
    parts = [
        f"{name} of {_ms(goal)}, and an idle replica of {tier} takes {_ms(best, up=True)}"
        for name, goal, best in least
        if goal <= best
    ]
    return ", ".join(parts) or None


def _ms(seconds: float, *, up: bool = False) -> str:
    """Two digits, so that the words stay while lengths move a little."""
    ms = seconds * _MS_PER_S
    if not up:
        return f"{ms:g}ms"
    step = 10 ** max(0, math.floor(math.log10(max(1.0, ms))) - 1)
    return f"{math.ceil(ms / step) * step:g}ms"
