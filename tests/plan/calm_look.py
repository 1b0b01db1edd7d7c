"""One calm look at a small and a dear tier, both vLLM on H100, and the hour before it."""

from dataclasses import replace

from modelfleet.plan.planner import Look, State, TierLook
from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths, Objectives

SMALL = TierLook(
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
    replicas_max=20,
    rate_rps=39.0,
    lengths=Lengths(914, 155),
    itl_s=None,
    waiting=0.0,
    kv=0.1,
)
BIG = replace(
    SMALL, name="big", engine=PROFILES["70b-h100-tp4"], price=4.0, lead_s=240.0, share=0.35, rate_rps=21.0
)
CALM = Look(
    now_s=100_000.0,
    look_s=15.0,
    since_s=15.0,
    complete=True,
    arrived=900.0,
    counts=[300.0] * 120,
    interval_s=5.0,
    answers=900.0,
    good=895.0,
    goals=Objectives(1.0, 0.05),
    tiers=(SMALL, BIG),
)
STEADY = State(rates_rps=(60.0,) * 160)
