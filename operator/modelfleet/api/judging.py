"""When an answer is good enough to be sent, and what of it is awaited before that is decided."""

from typing import Annotated, Literal

from pydantic import Field

from modelfleet.api.meta import ApiModel, Duration, matches

TIERS_MAX = 8  # of a Cascade
LogProbability = Annotated[
    str,
    Field(max_length=16),
    matches(
        r"^(0|-[0-9]+(\.[0-9]+)?)$",
        'must be a decimal string of 0 or less, such as "-0.48": log probabilities are never positive',
    ),
]


# Accepts whatever its score: no token is that unlikely.
OPEN_THRESHOLD = -1000.0


class AcceptRule(ApiModel):
    """When an answer of a tier is good enough to be sent."""

    signal: Literal["MeanLogprob", "LowQuantileLogprob", "AnswerLogprob"] = Field(
        description="How sure the model was. MeanLogprob: mean log probability of the tokens. LowQuantileLogprob: its 10 percent "
        "quantile. AnswerLogprob: of the least sure value in a JSON text, label or tool call.",
    )
    threshold: LogProbability | None = Field(
        default=None,
        description="The lowest value that is accepted: a natural log probability, 0 or less. Default: the operator chooses it "
        "from the scores that routers report, so that answers come from each tier as its targetShare says; status.tiers shows "
        "it.",
    )


class Stream(ApiModel):
    """How long the beginning of a stream is held back to be judged, where its tier has an accept rule."""

    hold_back_tokens: int = Field(
        default=24, ge=1, le=1024, description="Judge a stream by so many tokens; nothing is sent before."
    )
    hold_back_time: Duration = Field(
        default="120ms",
        description="Judge what has come when so much time has passed since the first token, if that is sooner.",
    )


def chosen_by_a_share() -> str:
    """CEL: each tier that judges without a threshold has a targetShare, or one comes after it.

    Written out for every place, since a loop within a loop would cost more than the API server allows.
    """
    shared = [f"self.tiers.size() > {at} && has(self.tiers[{at}].targetShare)" for at in range(TIERS_MAX)]
    return " && ".join(
        f"(self.tiers.size() <= {at} || !has(self.tiers[{at}].accept) || has(self.tiers[{at}].accept.threshold) || "
        + " || ".join(shared[at:])
        + ")"
        for at in range(TIERS_MAX - 1)
    )
