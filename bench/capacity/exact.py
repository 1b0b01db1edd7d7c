"""What is measured at request level, and what the planner itself costs."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from statistics import median
from typing import Any

from bench.figures import ROOT
from modelfleet.plan.planner import Look, Settings, State, TierLook, plan
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives, capacity
from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Cascade, ColdStart, Slo, Tier
from modelfleet.sim.policies.oracle import Oracle
from modelfleet.sim.policies.ours import Joint, Lead
from modelfleet.sim.policy import Policy
from modelfleet.sim.replica import Job, Replica
from modelfleet.sim.world import World

RECORDED = ROOT / "tests" / "fixtures" / "vllm_h100_8b.json"
# llm-d's ramp: Qwen3-32B on 2 H100 a replica, 4000 tokens in and 1000 out; requests a second, seconds.
RAMP = ((2, 330), (4, 360), (6, 360), (8, 360), (10, 360), (4, 360), (1, 300))
_SMALL = TierLook(
    name="small",
    engine=PROFILES["8b-h100"],
    price=1.0,
    lead_s=120.0,
    share=0.65,
    replicas=4,
    ready=4,
    starting=0,
    stuck=0,
    replicas_min=1,
    replicas_max=40,
    rate_rps=39.0,
    lengths=Lengths(914, 155),
    itl_s=0.02,
    waiting=0.0,
    kv=0.1,
)
_BIG = replace(_SMALL, name="big", engine=PROFILES["70b-h100-tp4"], price=4.0, lead_s=240.0, share=0.35)


def digest() -> str:
    """Of the source that these numbers come from."""
    found = sha256()
    for folder in ("plan", "sim", "route"):
        for path in sorted((ROOT / "operator" / "modelfleet" / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def recordings() -> tuple[list[float], list[float]]:
    """Errors of the medians of TTFT and ITL against recorded open loads, in percent; one for each load."""
    ttft_off, itl_off = [], []
    for load in json.loads(RECORDED.read_text())["open_loop"]:
        done: list[tuple[Job, float]] = []

        def keep(job: Job, at_s: float, done: list[tuple[Job, float]] = done) -> None:
            done.append((job, at_s))

        replica = Replica(PROFILES["8b-h100"], on_first=lambda _job, _at_s: None, on_done=keep)
        for at_s in sorted(load["arrival_s"]):
            while replica.due_s <= at_s:
                replica.step()
            replica.add(Job(prompt=512, cached=0, output=128), at_s)
        while len(done) < len(load["arrival_s"]):
            replica.step()
        ttft = median(job.first_s - job.arrived_s for job, _ in done)
        itl = median((at_s - job.first_s) / 127 for job, at_s in done)
        seen = [(e2e - first) / 127 for first, e2e in zip(load["ttft_s"], load["e2e_s"], strict=True)]
        ttft_off.append(100 * abs(ttft / median(load["ttft_s"]) - 1))
        itl_off.append(100 * abs(itl / median(seen) - 1))
    return ttft_off, itl_off


def ramp(seed: int, policy: Policy) -> Mapping[str, float]:
    """The staged ramp: attainment in percent, and mean replicas over its window."""
    seconds = float(sum(length for _, length in RAMP))
    tier = Tier(
        "32b",
        PROFILES["32b-h100-tp2"],
        gpus=2.0,
        cold=ColdStart(0, 11, 89),
        replicas_start=3,
        replicas_min=1,
        replicas_max=10,
    )
    cascade = Cascade((tier,), slo=Slo(3.0, 0.1))
    arrivals = staged(RAMP, prompt=4000, output=1000, seed=seed)
    tally = World(cascade, arrivals, policy, seed=seed).run(seconds + 60)
    replicas = [one.replicas[0] for one in tally.slices[: round(seconds / 60)] if one.replicas]
    return {
        "attainment_percent": 100 * tally.attainment,
        "replicas": sum(replicas) / len(replicas),
        "flips": tally.courses["32b"].flips,
    }


def foreknown() -> Policy:
    """Knows every second of the ramp, and runs replicas as full as the objectives allow."""
    lengths, goals = Lengths(4000, 1000), Objectives(3.0, 0.1)
    rate_rps = capacity(PROFILES["32b-h100-tp2"], lengths, goals).rate_rps
    per_second = [rate for rate, seconds in RAMP for _ in range(seconds)]
    return Oracle({"32b": rate_rps}, [*per_second, *[0.0] * 60], (1.0,))


def requests_per_minute() -> float:
    """Of CPU time, of a cascade of two tiers at 60 requests a second."""
    small = Tier("small", PROFILES["8b-h100"], replicas_start=4, replicas_max=12)
    big = Tier("big", PROFILES["70b-h100-tp4"], gpus=4.0, replicas_start=4, replicas_max=12)
    cascade = Cascade((small, big), share_floor=0.35)
    arrivals = staged([(60.0, 300.0)], prompt=914, output=155, seed=1)
    started_s = time.process_time()
    tally = World(cascade, arrivals, Joint(), entry=(0.65, 0.35)).run(320.0)
    return tally.arrivals * 60 / (time.process_time() - started_s)


def decision_ms(tiers: int, times: int = 50) -> list[float]:
    """CPU milliseconds of one decision, with an hour behind it."""
    looks = tuple(
        replace(_BIG if at % 2 else _SMALL, name=str(at), share=1 / tiers, lead_s=120.0 + 30 * at)
        for at in range(tiers)
    )
    look = Look(
        now_s=100_000.0,
        look_s=15.0,
        since_s=15.0,
        complete=True,
        arrived=900.0,
        counts=[300.0 + at % 7 for at in range(120)],
        interval_s=5.0,
        answers=900.0,
        good=890.0,
        goals=Objectives(1.0, 0.05),
        tiers=looks,
    )
    state = State(rates_rps=tuple(60.0 + at % 9 for at in range(160)), answered=((900.0, 895.0),) * 240)
    taken = []
    for _ in range(times):
        started_s = time.process_time()
        plan(look, state, Settings())
        taken.append(1000 * (time.process_time() - started_s))
    return taken


def everything() -> dict[str, Any]:
    """All of it, as JSON-ready values."""
    ttft, itl = recordings()
    return {
        "ttft_error_percent": ttft,
        "itl_error_percent": itl,
        "ramp": [dict(ramp(seed, Lead())) for seed in range(3)],
        "ramp_foreknown": [dict(ramp(seed, foreknown())) for seed in range(3)],
        "requests_per_minute": requests_per_minute(),
        "decision_4_tiers_ms": decision_ms(4),
        "decision_500_cascades_s": [sum(decision_ms(2, 500)) / 1000],
    }
