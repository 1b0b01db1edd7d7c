"""Engines as measured or derived: what a tier is planned with until its own steps have been seen.

`8b-h100`, `3b-h100` and `1.5b-h100` are our measurements of vLLM 0.25.1 (512 prompt and 128 output tokens; the 8B fit
is within 3 %, the small ones are bound by their slow host and only rough).  `70b-h100-tp4` and `32b-h100-tp2` are derived from
published step times (Vidur's profiles, MIT, and BLIS' decode constants), not measured by us.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from modelfleet.plan.engine import Engine

if TYPE_CHECKING:  # who only wants our own profiles, as the stand-in of vLLM does, has no pydantic
    from modelfleet.api.fleet_settings import FleetSettings
    from modelfleet.api.model_tier import ModelTier

PROFILES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            name="8b-h100",
            step_s=0.0061693,
            step_s_per_sequence=1.059e-5,
            step_s_per_context_token=4.175e-8,
            step_s_per_prompt_token=2.2771e-5,
            prefill_step_s_min=0.0125,
            first_token_s=0.002,
            sequences_max=256,
            step_tokens_max=8192,
            kv_tokens=474_304,
        ),
        Engine(
            name="3b-h100",
            step_s=0.0032398,
            step_s_per_sequence=2.5182e-5,
            step_s_per_context_token=5.532e-9,
            step_s_per_prompt_token=1.542e-5,
            prefill_step_s_min=0.02,
            first_token_s=0.002,
            sequences_max=256,
            step_tokens_max=8192,
            kv_tokens=1_938_176,
        ),
        Engine(
            name="1.5b-h100",
            step_s=0.0022611,
            step_s_per_sequence=1.4728e-5,
            step_s_per_context_token=4.172e-9,
            step_s_per_prompt_token=1.3294e-5,
            prefill_step_s_min=0.0125,
            first_token_s=0.002,
            sequences_max=256,
            step_tokens_max=8192,
            kv_tokens=2_598_096,
        ),
        Engine(
            name="70b-h100-tp4",
            step_s=0.0169,
            step_s_per_sequence=7e-6,
            step_s_per_context_token=4.8e-8,
            step_s_per_prompt_token=5.8e-5,
            prefill_step_s_min=0.02,
            first_token_s=0.002,
            sequences_max=256,
            step_tokens_max=8192,
            kv_tokens=487_000,
        ),
        Engine(
            name="32b-h100-tp2",
            step_s=0.0162,
            step_s_per_sequence=4.4e-6,
            step_s_per_context_token=7.6e-8,
            step_s_per_prompt_token=5.5e-5,
            prefill_step_s_min=0.02,
            first_token_s=0.002,
            sequences_max=256,
            step_tokens_max=8192,
            kv_tokens=350_000,
        ),
    )
}


def engine_of(tier: "ModelTier", settings: "FleetSettings") -> Engine | None:
    """As fast as its profile says, with as many sequences as the tier itself allows; None without a profile."""
    scaling = tier.spec.scaling
    found = profile(scaling.profile, settings) if scaling is not None and scaling.profile else None
    if found is None or tier.slots is None:
        return found
    return replace(found, sequences_max=min(found.sequences_max, tier.slots))


def profile(name: str, settings: "FleetSettings") -> Engine | None:
    """The profile of that name: of the settings, else one of ours; None where neither has it."""
    told = settings.profiles.get(name)
    if told is None:
        return PROFILES.get(name)
    return Engine(
        name=name,
        step_s=told.step_seconds,
        step_s_per_sequence=told.step_seconds_per_sequence,
        step_s_per_context_token=told.step_seconds_per_context_token,
        step_s_per_prompt_token=told.step_seconds_per_prompt_token,
        prefill_step_s_min=told.prefill_step_seconds_min,
        first_token_s=told.first_token_seconds,
        sequences_max=told.sequences_max,
        step_tokens_max=told.step_tokens_max,
        kv_tokens=told.kv_tokens,
        logprob_slowdown=told.logprob_slowdown,
    )
