"""How much load one replica carries within its objectives, in closed form.

In a steady state with `r` requests per second per replica a step prefills what arrives while it lasts and decodes
everything under way, and what is under way is what arrives while an answer lasts (Little).  So a step lasts
`step_s / (1 - r * work_s)`, where `work_s` is what one request adds to all steps together: the engine is a queue
whose load is `r * work_s`, and every limit is a largest `r` in closed form.
"""

import math
from dataclasses import dataclass, replace

from modelfleet.plan.engine import Engine

_MEMORY_USED = 0.8  # on average, of what there is for keys and values
_SLOTS_USED = 0.7  # of its slots that a replica has filled on average, where only they are known
_STEPS_TO_FIRST_TOKEN = 1.5  # half of the step that runs, the next, which is scheduled already, and its own


@dataclass(frozen=True, slots=True)
class Lengths:
    """Mean tokens of a request.  `cached`: of the prompt, found in the prefix cache."""

    prompt: float
    output: float
    cached: float = 0.0


@dataclass(frozen=True, slots=True)
class Objectives:
    """Seconds to the first token and between tokens."""

    ttft_s: float
    itl_s: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """Requests per second of one replica.  `bound`: what limits it, one CamelCase word."""

    rate_rps: float
    bound: str


@dataclass(frozen=True, slots=True)
class Carried:
    """What one replica carries, `under_way` requests it has then, and what bounds it.

    Nothing, where that is not known, or where not even a single request would be within the objectives: `bound` is
    empty or `Infeasible`, and no number of replicas follows from it.
    """

    rate_rps: float = 0.0
    under_way: float = 0.0
    bound: str = ""

    @property
    def known(self) -> bool:
        return self.rate_rps > 0


def work_s(engine: Engine, lengths: Lengths) -> float:
    """Seconds that one request adds to all steps it is in together."""
    context = lengths.prompt + lengths.output / 2
    decode_s = engine.step_s_per_sequence + engine.step_s_per_context_token * context
    return decode_s * lengths.output + engine.step_s_per_prompt_token * (lengths.prompt - lengths.cached)


def step_s(engine: Engine, lengths: Lengths, rate_rps: float) -> float:
    """How long a step lasts at this rate per replica: the time between tokens; infinite beyond saturation."""
    load = rate_rps * work_s(engine, lengths)
    return engine.step_s / (1 - load) if load < 1 else float("inf")


def ttft_s(engine: Engine, lengths: Lengths, rate_rps: float) -> float:
    """Seconds to the first token at this rate, where nothing queues."""
    prompt_s = engine.step_s_per_prompt_token * (lengths.prompt - lengths.cached)
    return engine.first_token_s + prompt_s + _STEPS_TO_FIRST_TOKEN * step_s(engine, lengths, rate_rps)


def capacity(engine: Engine, lengths: Lengths, goals: Objectives) -> Capacity:
    """The largest rate that keeps both objectives and fits the engine's limits; 0 where none does."""
    work = max(1e-9, work_s(engine, lengths))
    base, output = engine.step_s, max(1.0, lengths.output)
    prompt_s = engine.step_s_per_prompt_token * (lengths.prompt - lengths.cached)
    first_s = (goals.ttft_s - engine.first_token_s - prompt_s) / _STEPS_TO_FIRST_TOKEN
    context = lengths.prompt + output / 2
    limits = {
        "ITL": (1 - base / goals.itl_s) / work,
        "TTFT": (1 - base / first_s) / work if first_s > 0 else 0.0,
        "Sequences": engine.sequences_max / (output * base + engine.sequences_max * work),
        "KVCache": engine.kv_tokens / (context * output * base + engine.kv_tokens * work),
    }
    bound = min(limits, key=lambda name: limits[name])
    return Capacity(max(0.0, limits[bound]), bound)


def carried(engine: Engine, lengths: Lengths, goals: Objectives) -> Carried:
    """`capacity` with room for chance, and the requests under way at that rate.

    Requests come and go by themselves, so a place count of `n` on average filled is short by a deviation, `sqrt(n)`,
    every sixth moment; and memory that is filled on average is full as often as not.
    """
    places = max(1, round(engine.sequences_max - math.sqrt(engine.sequences_max)))
    roomy = replace(engine, sequences_max=places, kv_tokens=round(_MEMORY_USED * engine.kv_tokens))
    most = capacity(roomy, lengths, goals)
    if not most.rate_rps:
        return Carried(bound="Infeasible")
    answer_s = lengths.output * step_s(engine, lengths, most.rate_rps)
    return Carried(most.rate_rps, most.rate_rps * answer_s, most.bound)


def by_slots(slots: int, answer_s: float | None) -> Carried:
    """The same of an engine that no profile describes: most of its slots, for as long as its answers take.

    It knows no objectives: what these allow is learned (plan/fill.py).
    """
    if not slots or not answer_s:
        return Carried()
    return Carried(_SLOTS_USED * slots / answer_s, _SLOTS_USED * slots, "Slots")
