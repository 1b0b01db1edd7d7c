"""When and how fast the operator changes the number of a tier's replicas."""

from typing import ClassVar, Literal

from pydantic import Field

from modelfleet.api.cel import Rule
from modelfleet.api.meta import ApiModel, DnsLabel, DnsName, Duration, cel_duration, list_map
from modelfleet.api.scalars import IntOrString
from modelfleet.api.schedules import SCHEDULES_MAX, Fallback, Schedule

_LATENCY = "self.type in ['TTFT', 'ITL']"
QUERY_CHARS_MAX = 2048


class ScalingMetric(ApiModel):
    """One signal to scale on; the largest result of all metrics wins, as in HPA v2."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!({_LATENCY}) || (type(self.target) == string && {cel_duration('string(self.target)')})",
            "target of a TTFT or ITL metric must be a duration above zero, such as 500ms",
            at=".target",
        ),
        Rule(
            f"{_LATENCY} || self.type == 'KVCache' || (string(self.target).matches('^[0-9]{{1,9}}([.][0-9]{{1,6}})?$') "
            "&& double(string(self.target)) > 0.0)",
            "target of a Concurrency, Queue or PromQL metric must be a number above zero, such as 8 or '0.5'",
            at=".target",
        ),
        Rule(
            "self.type != 'KVCache' || string(self.target).matches('^([1-9][0-9]?|100)$')",
            "target of a KVCache metric must be whole percent from 1 to 100, such as 80",
            at=".target",
        ),
        Rule(
            f"{_LATENCY} || self.percentile == 95",
            "percentile is for TTFT and ITL only: leave it out",
            at=".percentile",
        ),
        Rule(
            "(self.type == 'PromQL') == has(self.query)",
            "query belongs to a PromQL metric: write it there, and leave it out of any other",
            at=".query",
        ),
    )

    name: DnsLabel = Field(description="Name of this metric, unique in the list; shown in reasons.")
    type: Literal["TTFT", "ITL", "Concurrency", "Queue", "KVCache", "PromQL"] = Field(
        description="TTFT: time to first token of streams, as the router sees it. ITL: time between tokens of streams, "
        "likewise. Concurrency: requests in flight per replica. Queue: requests per replica that wait for a slot, which is "
        "what vllm.maxNumSeqs or llamaCpp.slots do not hold. KVCache: used part of the fullest replica's KV cache; vLLM "
        "only. PromQL: what a query of your own gives, divided by the replicas."
    )
    percentile: int = Field(
        default=95,
        ge=1,
        le=99,
        description="Which percentile of the time, over the last minute. For TTFT and ITL only.",
    )
    target: IntOrString = Field(
        description="What to keep the metric at or below: a duration for TTFT and ITL, such as 500ms; percent for KVCache, such "
        "as 80; an amount per replica, such as 8 or '0.5', for the others."
    )
    query: str | None = Field(
        default=None,
        min_length=1,
        max_length=QUERY_CHARS_MAX,
        description="For PromQL: a query that gives one number for the whole tier, such as sum(my_queue_length). The wanted "
        "replicas are that number divided by target, as HPA's AverageValue. While it gives anything else, the tier does not "
        "shrink, and ScalingActive says why.",
    )


class ScalingPolicy(ApiModel):
    """How fast replicas may change."""

    type: Literal["Pods", "Percent"] = Field(
        description="Whether value counts pods or percent of the current replicas."
    )
    value: int = Field(ge=1, description="At most this many pods, or this percentage, within periodSeconds.")
    period_seconds: int = Field(ge=1, le=1800, description="Length of the window in seconds.")


class ScalingRules(ApiModel):
    """One direction of behavior; names and meaning as in HPA v2."""

    stabilization_window_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="Of the sizes asked for within so many seconds the most cautious counts: the smallest when growing, the largest when shrinking. Default: 0 up, 300 down.",
    )
    select_policy: Literal["Max", "Min", "Disabled"] = Field(
        default="Max", description="Which policy wins when several apply. Disabled: never in this direction."
    )
    policies: list[ScalingPolicy] = Field(
        default=[], max_length=8, description="Limits on the rate of change. Default: HPA v2's."
    )
    tolerance: str | None = Field(
        default=None,
        max_length=8,
        pattern=r"^(0|1|0?\.[0-9]+)$",
        description="How far off target is near enough to do nothing, as a ratio between 0 and 1. Default: 0.1.",
    )


class ScalingBehavior(ApiModel):
    """Rate limits and stabilization, per direction."""

    scale_up: ScalingRules = Field(default=ScalingRules(), description="Rules for adding replicas.")
    scale_down: ScalingRules = Field(default=ScalingRules(), description="Rules for taking replicas away.")


class Idle(ApiModel):
    """Run nothing while there are no requests."""

    after: Duration = Field(
        default="30m",
        description="How long no router may have had a request for the tier before its last replica goes.",
    )
    hold_timeout: Duration = Field(
        default="5m",
        description="How long a request may wait for the first replica. A shorter limits.deadline of its Cascade wins.",
    )
    max_held: int = Field(
        default=100,
        ge=0,
        le=10000,
        description="How many requests may wait for the first replica, over all routers. Each may hold its part, and at least one.",
    )


class Scaling(ApiModel):
    """Let the operator choose the number of replicas."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be above maxReplicas",
            at=".minReplicas",
        ),
        Rule(
            "self.minReplicas > 0 || has(self.idle)",
            "minReplicas 0 needs idle, which says when the last replica goes: add idle: {} or set minReplicas to 1",
            at=".minReplicas",
        ),
        Rule(
            "self.minReplicas == 0 || !has(self.idle)",
            "idle is for tiers that may run nothing: set minReplicas to 0, or remove idle",
            at=".idle",
        ),
        Rule(
            "!has(self.schedules) || self.schedules.all(each, each.minReplicas <= self.maxReplicas)",
            "minReplicas of a schedule must not be above scaling.maxReplicas",
            at=".schedules",
        ),
        Rule(
            "!has(self.fallback) || !has(self.fallback.replicas) || self.fallback.replicas <= self.maxReplicas",
            "replicas of fallback must not be above scaling.maxReplicas",
            at=".fallback",
        ),
    )

    min_replicas: int = Field(
        default=1,
        ge=0,
        le=10000,
        description="Replicas never go below this, however little there is to do. 0 is allowed with idle only.",
    )
    max_replicas: int = Field(
        ge=1, le=10000, description="Replicas never go above this, however busy the tier is."
    )
    metrics: list[ScalingMetric] = Field(
        default=[],
        max_length=8,
        description="Signals to scale on; the largest result wins. Default: none, and the tier is planned together with the "
        "other tiers of the Cascade that names it, which says in its slo what to keep.",
        json_schema_extra=list_map("name"),
    )
    profile: DnsName | None = Field(
        default=None,
        description="How fast one replica is, where the tier is planned with its Cascade: a profile of the operator's settings, or one that it brings, such "
        "as 8b-h100. Default: a replica is taken to carry what fills 70 percent of its slots, by the time its answers take.",
    )
    behavior: ScalingBehavior = Field(
        default=ScalingBehavior(), description="How fast replicas may change, as in HPA v2."
    )
    schedules: list[Schedule] = Field(
        default=[],
        max_length=SCHEDULES_MAX,
        description="Times in which more replicas run, whatever the load. Of those that run at once the largest counts.",
    )
    fallback: Fallback | None = Field(
        default=None,
        description="What to do when nothing has been measured for long. Default: keep the replicas that are wanted.",
    )
    mode: Literal["Auto", "Observe"] = Field(
        default="Auto",
        description="Auto: the operator decides about replicas. Observe: it shows in status.scaling what it would do and "
        "leaves them as they are; annotation modelfleet.dev/pin-replicas changes them.",
    )
    idle: Idle | None = Field(
        default=None,
        description="Run nothing while there are no requests; the next one is held until a replica answers. "
        "Needs minReplicas: 0.",
    )
