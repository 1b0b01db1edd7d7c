"""A cascade that judges answers: a small model, a larger one and an API, with what real models got right.

The correctness and confidence of each model for each question are read from a folder of the user's (`--quality` or
MODELFLEET_CASCADE_DATA; docs/simulate.md says what is in it).  The bars are chosen on one half of the questions, for a
floor of quality, and everything is measured on the other half, request by request.
"""

import csv
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from bench.figures import Figure, missing
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths
from modelfleet.sim.arrivals import Day, synthetic
from modelfleet.sim.fleet import Arrival, Cascade, ColdStart, Question, Tier
from modelfleet.sim.policies.grid import FAMILIES, Measured
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.policy import Policy
from modelfleet.sim.tail import measure
from modelfleet.sim.world import World

QUESTIONS = "mcq-confidence/mmlu_first.csv"
MODELS = ("Mistral", "Solar", "gpt-4-turbo")
PRICES_USD = (10.0, 30.0)  # of the API, per million tokens in and out, as its data set says
GPU_USD_H = 3.0
FLOOR = 0.8  # of what the API gets right
_SURE = 0.01  # beyond the floor on the half that chooses
_SECONDS = 3600.0
_QUANTILES = tuple(at / 12 for at in range(13))
_LOAD = Day(mean_rps=40.0, peak_hour=1.0)
TIERS = (
    Tier("small", PROFILES["1.5b-h100"], usd_per_replica_hour=GPU_USD_H, cold=ColdStart(0, 5, 85), replicas_start=2),
    Tier("medium", PROFILES["8b-h100"], usd_per_replica_hour=GPU_USD_H, cold=ColdStart(0, 10, 110), replicas_start=3),
    Tier("api", PROFILES["70b-h100-tp4"], usd_per_million_tokens=PRICES_USD, external=True),
)  # fmt: skip


def questions(folder: Path) -> list[Question]:
    """One for each row; what could not be parsed is wrong."""
    with (folder / QUESTIONS).open() as lines:
        return [
            Question(
                tuple(float(row[f"{model}:conf"]) for model in MODELS),
                tuple(row[f"{model}:grade"] == "1" for model in MODELS),
            )
            for row in csv.DictReader(lines)
        ]


def bars(known: Sequence[Question], floor: float) -> tuple[float, float]:
    """The bars of the first two tiers that send least to the API, and still get a `floor` of the questions right."""
    scores = [sorted(one.scores[tier] for one in known) for tier in (0, 1)]
    ladders = [[each[min(len(each) - 1, int(q * len(each)))] for q in _QUANTILES] for each in scores]
    best = (float("inf"), 0.0, 0.0)
    for first, second in product(*ladders):
        ends = [_ends(one, first, second) for one in known]
        right = sum(one.right[end] for one, end in zip(known, ends, strict=True)) / len(known)
        if right >= floor:
            best = min(best, (sum(end == 2 for end in ends) / len(known), first, second))
    return best[1:]


def _ends(one: Question, first: float, second: float) -> int:
    return 0 if one.scores[0] >= first else 1 if one.scores[1] >= second else 2


def run(folder: Path) -> dict[str, Any]:
    """Every policy on the same hour of requests."""
    known = questions(folder)
    chosen_on, judged_on = known[::2], known[1::2]
    reference = sum(one.right[-1] for one in chosen_on) / len(chosen_on)
    first, second = bars(chosen_on, FLOOR * reference + _SURE)
    cascade = Cascade(TIERS, thresholds=(first, second, None), questions=judged_on)
    arrivals = list(synthetic(_LOAD, seconds=_SECONDS, seed=7, questions=len(judged_on)))
    rows = {name: _row(cascade, arrivals, policy) for name, policy in _policies(cascade, arrivals).items()}
    reached = sum(one.right[-1] for one in judged_on) / len(judged_on)
    return {"floor": FLOOR * reached, "bars": [first, second], "policies": rows}


def _policies(cascade: Cascade, arrivals: Sequence[Arrival]) -> Mapping[str, Policy]:
    sample = arrivals[:: max(1, len(arrivals) // 10_000)]
    prompt, output = (
        sum(getattr(one, what) for one in sample) / len(sample) for what in ("prompt", "output")
    )
    rates = {tier.name: measure(tier.engine, sample, cascade.slo).rate_rps(0.99) for tier in TIERS}
    measured = Measured(Lengths(prompt, output), rates)
    ours = FAMILIES["joint"]
    return {
        "joint": ours.build(cascade, measured, (0.75, 0.5, 0.01)),
        "kubeai": FAMILIES["kubeai"].build(cascade, measured, (0.7,)),
        "llmd-queue": FAMILIES["llmd-queue"].build(cascade, measured, (0.7,)),
        "static": Static(),
    }


def _row(cascade: Cascade, arrivals: Sequence[Arrival], policy: Policy) -> dict[str, Any]:
    tally = World(cascade, arrivals, policy, seed=7).run(_SECONDS)
    return {
        "attainment": tally.attainment,
        "quality": tally.quality,
        "gpu_h": tally.gpu_h,
        "usd": tally.usd,
        "api_share": tally.share_last,
    }


def figures(found: Mapping[str, Any] | None) -> list[Figure]:
    """Quality against its floor, and what each policy paid."""
    if not found:
        return [
            missing("quality_above_floor_points", "points", ">= 0", "no folder with answers of real models")
        ]
    made = []
    for name, row in found["policies"].items():
        above = round(100 * (row["quality"] - found["floor"]), 2)
        made.append(
            Figure(f"quality_above_floor_points/{name}", above, above, above, "points", ">= 0", above >= 0)
        )
        for what, unit, factor in (
            ("attainment", "% within the objectives", 100),
            ("gpu_h", "GPU hours", 1),
            ("usd", "US dollars with the API", 1),
            ("api_share", "% of answers by the API", 100),
        ):
            value = round(factor * row[what], 2)
            made.append(Figure(f"judged_cascade_{what}/{name}", value, value, value, unit, "", None))
    return made
