"""Cascade: an ordered list of tiers behind one OpenAI-compatible model name, cheapest first."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from modelfleet.api.budget import Budget
from modelfleet.api.cascade_status import CascadeStatus
from modelfleet.api.cel import Rule
from modelfleet.api.judging import TIERS_MAX, AcceptRule, Stream, chosen_by_a_share
from modelfleet.api.meta import (
    ApiModel,
    DnsLabel,
    Duration,
    LocalRef,
    ObjectMeta,
    Percent,
    list_map,
)
from modelfleet.api.model_tier import ModelTier, Resources
from modelfleet.api.policies import DataPolicy
from modelfleet.api.scalars import Dollars, ModelName


class TierWeight(ApiModel):
    """Share of the requests that start at a tier."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.min <= self.max", "min must not be above max (both are percent of all entries)", at=".min"
        ),
    )

    initial: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Relative weight of the tier as an entry, as in an HTTPRoute; the operator returns to it when all is calm.",
    )
    min: Percent = Field(
        default=0, description="Percent of all entries that always start here while the tier is ready."
    )
    max: Percent = Field(
        default=100,
        description="Percent of all entries that start here at most, such as a limit on what a dear tier may cost.",
    )


_PER_PERCENT = 10  # permille


class CascadeTier(ApiModel):
    """One step of the cascade."""

    name: DnsLabel = Field(description="Name of the step, unique in the cascade, such as small or frontier.")
    tier_ref: LocalRef = Field(description="The ModelTier that answers here.")
    weight: TierWeight | None = Field(
        default=None,
        description="Share of the requests that start here. When no tier has a weight, all requests start at the first tier.",
    )
    target_share: Percent | None = Field(
        default=None,
        description="Percent of all answers that should come from this tier; compared with what is observed "
        "in condition ShareOnTarget, and what an accept rule without a threshold is for.",
    )
    accept: AcceptRule | None = Field(
        default=None,
        description="When this tier's answer is sent; any other goes to the next tier. Default: always. Not for the last tier.",
    )
    timeout: Duration = Field(
        default="60s",
        description="Longest wait for one attempt at this tier, from sending the request to the last byte of the answer. "
        "Of a stream: to its first event, and from one event to the next (there, 30s at most).",
    )


class Weights(ApiModel):
    """How entry weights move."""

    mode: Literal["Auto", "Fixed", "Observe"] = Field(
        default="Auto",
        description="Auto: the operator moves weights with readiness and load. Fixed: weight.initial always. "
        "Observe: weights as in Auto, and answers are judged by tiers[].accept and counted, but none is escalated.",
    )
    max_step: int = Field(
        default=10,
        ge=1,
        le=100,
        description="Percentage points of all entries that one tier's weight may move per interval because of load. A tier that "
        "stops being ready gives up all of its weight at once.",
    )
    interval: Duration = Field(default="15s", description="Shortest time between two steps.")


class Overflow(ApiModel):
    """Which requests leave a tier that cannot take them, and how many."""

    when: Annotated[
        list[Literal["Cold", "Saturated", "Error"]],
        Field(min_length=1, max_length=3),
        Rule("self.all(one, self.exists_one(other, other == one))", "name each cause once"),
    ] = Field(
        default=["Cold", "Saturated", "Error"],
        description="For which causes a request goes on to the next tier. Cold: its tier has no replica. Saturated: all places "
        "there are taken, or its rate is used up. Error: its replicas fail. For any other cause it stays: it waits, and is "
        "refused where waiting is no use.",
    )
    max_share: int = Field(
        default=20,
        ge=1,
        le=100,
        description="Percent of all requests that may do so; beyond it they wait, or are refused with Retry-After.",
    )


class Limits(ApiModel):
    """Bounds on one request."""

    max_escalations: int = Field(
        default=1,
        ge=0,
        le=7,
        description="How often one request may move on to the next tier because its answer was not accepted.",
    )
    deadline: Duration = Field(
        default="120s", description="Longest time from request to last byte, over all attempts and tiers."
    )
    max_body_bytes: int = Field(
        default=2_097_152,
        ge=1024,
        le=104_857_600,
        description="Largest request body, in bytes; above it the answer is 413.",
    )
    max_cost_per_request: (
        Annotated[Dollars, Rule("self.matches('[1-9]')", "must be above 0; leave it out for no limit")] | None
    ) = Field(
        default=None,
        description="US dollars that one request may cost at most, over all its tiers, as a decimal string; a tier that could "
        "cost more is not asked. External tiers need a price then: without one they get no requests.",
    )


class ServiceLevel(ApiModel):
    """What clients are to see, at the least cost."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.ttftP95) || has(self.itlP95)",
            "give at least one objective: ttftP95, such as 800ms, or itlP95, such as 50ms",
        ),
    )

    ttft_p95: Duration | None = Field(
        default=None,
        description="Time to the first token that 95 percent of streams are to keep, such as 800ms.",
    )
    itl_p95: Duration | None = Field(
        default=None,
        description="Time between two tokens, on average over one answer, that 95 percent of streams are to keep, such as 50ms.",
    )


class DedicatedRouter(ApiModel):
    """A router for this Cascade alone."""

    replicas: int = Field(default=2, ge=1, le=100, description="Router pods.")
    resources: Resources | None = Field(
        default=None, description="Resources of a router pod. Default: the operator's settings."
    )


class RouterChoice(ApiModel):
    """Which router serves the Cascade."""

    dedicated: DedicatedRouter | None = Field(
        default=None,
        description="A router for this Cascade alone. Default: the one that the namespace shares.",
    )


class CascadeSpec(ApiModel):
    """What the user wants of a cascade."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.tiers.exists(t, has(t.weight)) || self.tiers.exists(t, has(t.weight) && t.weight.initial > 0)",
            "give at least one tier a weight.initial above 0, or leave weight out everywhere: "
            "all requests then start at the first tier",
            at=".tiers",
        ),
        Rule(
            "self.tiers.map(t, has(t.weight) ? t.weight.min : 0).sum() <= 100",
            "the weight.min of all tiers must not add up to more than 100 percent",
            at=".tiers",
        ),
        Rule(
            "self.tiers.size() == 0 || self.tiers.map(t, has(t.weight) ? t.weight.max : 100).sum() >= 100",
            "the weight.max of all tiers must add up to 100 percent or more: some requests could start nowhere",
            at=".tiers",
        ),
        Rule(
            "self.tiers.size() == 0 || self.tiers.map(t, has(t.targetShare) ? t.targetShare : 0).sum() <= 100 && (self.tiers.exists(t, "
            "!has(t.targetShare)) || self.tiers.map(t, has(t.targetShare) ? t.targetShare : 0).sum() == 100)",
            "the targetShare of all tiers must add up to 100 percent (or less, where a tier has none)",
            at=".tiers",
        ),
        Rule(
            "self.tiers.size() == 0 || !has(self.tiers[self.tiers.size() - 1].accept)",
            "the last tier cannot have accept: there is no tier to move on to",
            at=".tiers",
        ),
        Rule(
            chosen_by_a_share(),
            'accept needs threshold, such as "-0.48", or targetShare on its tier or a later one: then the operator '
            "chooses the threshold",
            at=".tiers",
        ),
        Rule(
            "!has(self.overflow) || self.tiers.size() != 1",
            "overflow needs a second tier: there is none to move on to",
            at=".overflow",
        ),
    )

    model_name: ModelName = Field(description="What clients put in `model`; unique per router.")
    tiers: list[CascadeTier] = Field(
        min_length=1,
        max_length=TIERS_MAX,
        description="The tiers, cheapest first.",
        json_schema_extra=list_map("name"),
    )
    weights: Weights = Field(default=Weights(), description="How entry weights move.")
    stream: Stream = Field(default=Stream(), description="How streams are judged.")
    overflow: Overflow | None = Field(
        default=None,
        description="Which requests leave a tier that cannot take them, and how many. Default: where a tier is cold or fails, "
        "all of them go on to the next tier; where it is busy, they wait.",
    )
    limits: Limits = Field(default=Limits(), description="Bounds on one request.")
    data_policy: DataPolicy | None = Field(
        default=None,
        description="Which requests must stay in the cluster. Default: all may reach every tier.",
    )
    client_choice: list[Literal["Tier", "MinTier"]] = Field(
        default=[],
        max_length=2,
        description="What a request may choose by its headers. Tier: the tier that answers it, in x-modelfleet-tier. "
        "MinTier: the cheapest tier that may answer it, in x-modelfleet-min-tier. Default: nothing; requests with "
        "these headers are refused.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    slo: ServiceLevel | None = Field(
        default=None,
        description="What clients are to see. The operator plans for it: replicas of those tiers whose scaling has no metrics "
        "of its own, and the entries between them. Default: nothing is planned.",
    )
    budget: Budget | None = Field(
        default=None,
        description="What the Cascade may cost in an hour, a day or a month. Default: nothing is counted, and nothing bounded.",
    )
    router: RouterChoice = Field(default=RouterChoice(), description="Which router serves the Cascade.")


class Cascade(ApiModel):
    """An ordered list of tiers behind one OpenAI-compatible model name."""

    metadata: ObjectMeta
    spec: CascadeSpec
    status: CascadeStatus = CascadeStatus()


def initial_weights(spec: CascadeSpec) -> dict[str, int]:
    """Entry weight of each tier by name, in permille, summing to 1000: where weights return to when all is calm."""
    relative = {tier.name: tier.weight.initial if tier.weight else 0 for tier in spec.tiers}
    if all(tier.weight is None for tier in spec.tiers):
        relative[spec.tiers[0].name] = 1  # Cheapest first is the point of a cascade.
    return permille(relative)


def owed_permille(cascade: "Cascade") -> int | None:
    """What the last tier owes of all answers over an hour, where routers move entries by themselves; None: they do not.

    They do where the plan has told what a replica of every tier carries, nothing is fixed by hand, and no answer is
    judged: entries past the judge are not what the user asked for.
    """
    spec = cascade.spec
    told = {tier.name for tier in cascade.status.tiers if tier.carries_per_hour and tier.under_way}
    if spec.slo is None or spec.weights.mode != "Auto" or len(spec.tiers) == 1:
        return None
    if told != {step.name for step in spec.tiers} or any(step.accept is not None for step in spec.tiers):
        return None
    last = spec.tiers[-1]
    return initial_weights(spec)[last.name] if last.target_share is None else last.target_share * _PER_PERCENT


def permille(relative: dict[str, int]) -> dict[str, int]:
    """Non-negative integers scaled to sum to exactly 1000 by largest remainder; all zero stays all zero."""
    total = sum(relative.values())
    if total == 0:
        return dict(relative)
    floors = {name: value * 1000 // total for name, value in relative.items()}
    rest = 1000 - sum(floors.values())
    by_remainder = sorted(relative, key=lambda name: -(relative[name] * 1000 % total))
    return {name: share + (name in by_remainder[:rest]) for name, share in floors.items()}


def unpriced(spec: CascadeSpec, tier: ModelTier) -> bool:
    """Whether nobody can say what the tier costs, where the cascade bounds that: it gets no requests then."""
    bounded = spec.limits.max_cost_per_request is not None
    return bounded and tier.spec.external is not None and tier.spec.price is None
