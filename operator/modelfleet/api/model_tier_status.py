"""Status of a ModelTier: what the operator found of it, and what it decided."""

from pydantic import Field

from modelfleet.api.meta import ApiModel, Condition, list_map


class ModelStatus(ApiModel):
    """What is served right now."""

    source: str | None = Field(
        default=None, max_length=1024, description="The hf:// source and revision that were resolved."
    )
    revision: str | None = Field(default=None, description="Commit that the pods use.")


class Unscalable(ApiModel):
    """Why nothing is scaled."""

    reason: str = Field(max_length=128, description="One CamelCase word for the cause.")
    message: str = Field(default="", max_length=1024, description="The cause, for people.")


class ExistingStatus(ApiModel):
    """What was found of an existing workload."""

    port_name: str | None = Field(
        default=None, description="Name of the Service's port that requests go to; empty where it has none."
    )
    replicas: int | None = Field(
        default=None,
        description="Replicas that the scale target is asked for. Absent while the operator cannot, or must not, scale it.",
    )
    unscalable: Unscalable | None = Field(default=None, description="Why the operator does not scale it.")


class LastScale(ApiModel):
    """One change of the wanted number of replicas."""

    time: str = Field(description="When it was decided.", json_schema_extra={"format": "date-time"})
    from_replicas: int = Field(alias="from", description="Replicas wanted before.")
    to_replicas: int = Field(alias="to", description="Replicas wanted after.")
    reason: str = Field(description="One CamelCase word for the cause.")
    message: str = Field(default="", max_length=1024, description="The cause, for people.")


class ScalingPlan(ApiModel):
    """What the operator would do in mode Auto."""

    would_be: int = Field(description="Replicas that it would run.")
    reason: str = Field(description="One CamelCase word for the cause.")
    message: str = Field(default="", max_length=1024, description="The cause, for people.")


class ColdStart(ApiModel):
    """How long the newest pod that answers took from its creation, by what it waited for; rounded to seconds."""

    scheduling: str = Field(description="Waiting for a node.")
    image: str = Field(description="Pulling images.")
    weights: str = Field(description="Downloading the model, before the engine starts.")
    engine: str = Field(description="Loading the model, until the engine answers.")
    total: str = Field(description="All of it.")


class ModelTierStatus(ApiModel):
    """What the operator found and decided.  desiredReplicas, lastScale, scaleHistory, scaling, coldStart and the conditions ScalingActive, Scheduled and Cold are the capacity loop's, the rest is the structure loop's."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    replicas: int | None = Field(default=None, description="Pods that exist.")
    ready_replicas: int | None = Field(default=None, description="Pods that answer requests.")
    ready: str | None = Field(default=None, description="Ready pods of wanted pods, as shown by kubectl get.")
    desired_replicas: int | None = Field(
        default=None, description="Replicas that the capacity loop decided on."
    )
    selector: str | None = Field(
        default=None, description="Label selector of the pods, for the scale subresource."
    )
    engine: str | None = Field(default=None, description="vllm, llamaCpp or external.")
    existing: ExistingStatus | None = Field(
        default=None, description="What was found of an existing workload."
    )
    endpoint: str | None = Field(default=None, description="Base URL of the tier inside the cluster.")
    model: ModelStatus | None = Field(default=None, description="What is served right now.")
    scaling: ScalingPlan | None = Field(
        default=None, description="What the operator would do, in scaling.mode Observe only."
    )
    last_scale: LastScale | None = Field(
        default=None, description="The last change of the wanted number of replicas."
    )
    scale_history: list[LastScale] = Field(
        default=[], max_length=5, description="The last five changes, the newest first."
    )
    cold_start: ColdStart | None = Field(
        default=None, description="How long a replica takes to start, as last seen."
    )
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        description="Ready, Reconciling, Stalled, ResolvedRefs, WorkloadAvailable, Paused, Pinned, ScalingActive, Scheduled, Cold.",
        json_schema_extra=list_map("type"),
    )
