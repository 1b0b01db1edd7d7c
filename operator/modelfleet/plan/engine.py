"""How fast one replica of an engine is: what the planner sizes tiers with and the simulator runs on.

A step of continuous batching takes as long as what it reads and computes: the weights once, something per running
sequence, the keys and values of their contexts, and something per prompt token that is prefilled beside them.
Source of the form and of the first profile: our measurements of vLLM 0.25.1 on one H100 (tests/fixtures/vllm-h100).
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Engine:
    """One replica of a model on its accelerator.  Times in seconds, sizes in tokens."""

    name: str
    step_s: float  # of a step, however little is in it
    step_s_per_sequence: float
    step_s_per_context_token: float
    step_s_per_prompt_token: float  # prefilled in the step
    prefill_step_s_min: float  # a step with a prompt is launched kernel by kernel
    first_token_s: float  # of a request beside the steps: parsing, scheduling, sending
    sequences_max: int  # running at a time
    step_tokens_max: int  # decoded and prefilled in one step
    kv_tokens: int  # contexts that fit into memory
    logprob_slowdown: float = 0.0  # share of a step's time that log probabilities of all its sequences add

    def decode_step_s(self, sequences: float, context: float) -> float:
        """A step that prefills nothing.  `context`: tokens of all running sequences together."""
        return self.step_s + self.step_s_per_sequence * sequences + self.step_s_per_context_token * context

    def decode_steps_s(self, steps: float, sequences: float, context: float) -> float:
        """So many decode steps in a row, from `context` tokens on: every step adds one per sequence."""
        growth = self.step_s_per_context_token * sequences * steps * (steps - 1) / 2
        return steps * self.decode_step_s(sequences, context) + growth

    def decode_steps_in(self, seconds: float, sequences: float, context: float) -> float:
        """How many decode steps fit into `seconds`: the inverse of `decode_steps_s`."""
        half = self.step_s_per_context_token * sequences / 2
        linear = self.decode_step_s(sequences, context) - half
        return 2 * seconds / (linear + math.sqrt(linear * linear + 4 * half * seconds))

    def mixed_step_s(self, sequences: float, context: float, prompt_tokens: float) -> float:
        """A step that prefills `prompt_tokens` beside `sequences` that decode."""
        step_s = self.decode_step_s(sequences, context) + self.step_s_per_prompt_token * prompt_tokens
        return max(step_s, self.prefill_step_s_min)

    def slowed(self, share: float) -> "Engine":
        """The same engine while a `share` of its sequences, 0 to 1, is asked for log probabilities."""
        return self.times(1 + self.logprob_slowdown * share)

    def times(self, factor: float) -> "Engine":
        """The same engine with all its steps longer by a factor."""
        return replace(
            self,
            step_s=self.step_s * factor,
            step_s_per_sequence=self.step_s_per_sequence * factor,
            step_s_per_context_token=self.step_s_per_context_token * factor,
            step_s_per_prompt_token=self.step_s_per_prompt_token * factor,
        )
