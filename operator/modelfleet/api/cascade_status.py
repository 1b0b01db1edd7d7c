"""Status of a Cascade: what the operator found of it, and what it decided."""

from pydantic import Field

from modelfleet.api.balance import Balance
from modelfleet.api.budget import Cost
from modelfleet.api.meta import ApiModel, Condition, list_map


class CascadeTierStatus(ApiModel):
    """One tier as it is.  weight, threshold and the shares belong to the capacity loop, ready to the structure loop."""

    name: str = Field(description="Name of the step.")
    ready: bool | None = Field(default=None, description="Whether the tier can answer.")
    weight: int | None = Field(default=None, description="Permille of the requests that start here.")
    started_share: int | None = Field(
        default=None, description="Permille of requests that started here, last hour or less."
    )
    answered_share: int | None = Field(
        default=None, description="Permille of answers that came from here, last hour or less."
    )
    target_share: int | None = Field(
        default=None, description="Permille of answers that should come from here."
    )
    threshold: str | None = Field(
        default=None,
        max_length=16,
        description="Lowest score that is accepted here, where the operator chooses it.",
    )
    carries_per_hour: int | None = Field(
        default=None,
        description="Requests of this Cascade that one replica answers in an hour within slo, as far as the plan knows. Routers "
        "move entries by it.",
    )
    under_way: int | None = Field(
        default=None, description="Requests of this Cascade that one replica has at a time then."
    )


class LastDecision(ApiModel):
    """The last change of the weights."""

    time: str = Field(description="When it was decided.", json_schema_extra={"format": "date-time"})
    reason: str = Field(description="One CamelCase word for the cause.")
    message: str = Field(default="", max_length=1024, description="The cause, for people.")


class CascadeStatus(ApiModel):
    """What the operator found and decided.  weights, cost, balance, lastDecision and the conditions ShareOnTarget, WithinSLO and WithinBudget are the capacity loop's, the rest is the structure loop's."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    ready: str | None = Field(default=None, description="Ready tiers of all tiers, as shown by kubectl get.")
    weights: str | None = Field(
        default=None,
        max_length=1024,
        description="Permille of the requests that start at each tier, such as small=900 frontier=100. "
        "Written by the capacity loop.",
    )
    endpoint: str | None = Field(default=None, description="Base URL for clients inside the cluster.")
    tiers: list[CascadeTierStatus] = Field(
        default=[], max_length=8, description="The tiers as they are.", json_schema_extra=list_map("name")
    )
    cost: Cost | None = Field(default=None, description="What it has cost, where it has a budget.")
    balance: Balance | None = Field(
        default=None,
        description="How the last tier stands with its share, where routers move entries by themselves.",
    )
    last_decision: LastDecision | None = Field(default=None, description="The last change of the weights.")
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        description="Ready, Accepted, Programmed, Reconciling, Stalled, ResolvedRefs, TiersReady, Paused, Pinned, ShareOnTarget, WithinSLO, WithinBudget.",
        json_schema_extra=list_map("type"),
    )
