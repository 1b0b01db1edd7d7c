"""ModelTier: one model on one kind of node, scaled as one pool."""

from typing import Annotated, Literal

from pydantic import Field

from modelfleet.api.meta import (
    ApiModel,
    Condition,
    ConfigMapKeyRef,
    DnsLabel,
    DnsName,
    Duration,
    EnvVar,
    ObjectMeta,
    SecretKeyRef,
)

IntOrString = int | str
Args = Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=64)]
Image = Annotated[str, Field(min_length=1, max_length=512)]


class ModelSource(ApiModel):
    """Where the weights come from."""

    uri: str = Field(
        max_length=512,
        description="Where the model lives: hf://owner/repository (downloaded from the hub) "
        "or pvc://claim/path (a folder or file in a PersistentVolumeClaim, mounted read-only).",
    )
    revision: str = Field(
        default="main",
        min_length=1,
        max_length=128,
        description="Branch, tag or commit of an hf:// source. Resolved once to a commit, shown in status.model.revision.",
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Path of the GGUF file inside the source. Needed by llamaCpp unless the uri itself ends in .gguf.",
    )
    served_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Model name the engine answers to. Default: the ModelTier's name.",
    )
    credentials_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Token for the hub, given to the download only."
    )
    cache_claim: DnsName | None = Field(
        default=None,
        description="PersistentVolumeClaim that keeps what hf:// downloaded, so that the next pod starts without a download. "
        "It must be ReadWriteMany when replicas run on several nodes.",
    )


class VllmEngine(ApiModel):
    """Serve with vLLM."""

    image: Image | None = Field(
        default=None, description="Container image. Default: the node pool's or the operator's."
    )
    max_model_len: int | None = Field(
        default=None, ge=1, description="Context length in tokens. Default: the model's own."
    )
    max_num_seqs: int = Field(
        default=256, ge=1, le=65536, description="Sequences one replica works on at the same time."
    )
    tensor_parallel_size: int | None = Field(
        default=None, ge=1, le=64, description="GPUs one replica spans. Default: nodePool.count, else 1."
    )
    args: Args = Field(
        default=[], description="Further arguments of `vllm serve`, for what has no field here."
    )
    env: list[EnvVar] = Field(default=[], max_length=64, description="Environment variables of the engine.")


class LlamaCppEngine(ApiModel):
    """Serve a GGUF file with llama.cpp's server."""

    image: Image | None = Field(
        default=None, description="Container image. Default: the node pool's or the operator's."
    )
    context_length: int = Field(
        default=8192, ge=64, description="Context in tokens, shared by all slots of a replica."
    )
    slots: int = Field(default=4, ge=1, le=256, description="Requests one replica works on at the same time.")
    threads: int | None = Field(
        default=None, ge=1, le=512, description="CPU threads. Default: the engine's choice."
    )
    args: Args = Field(
        default=[], description="Further arguments of `llama-server`, for what has no field here."
    )
    env: list[EnvVar] = Field(default=[], max_length=64, description="Environment variables of the engine.")


class ExternalApi(ApiModel):
    """Serve through somebody else's OpenAI-compatible API."""

    base_url: str = Field(
        alias="baseURL",
        min_length=8,
        max_length=512,
        description="Base URL of the API up to and including /v1. https:// unless the host is inside the cluster.",
    )
    model: str = Field(min_length=1, max_length=253, description="Model name the API knows.")
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="API key, sent as a bearer token. Mounted into the router; the operator never reads it.",
    )
    ca_config_map_ref: ConfigMapKeyRef | None = Field(
        default=None,
        description="CA certificates (PEM) that sign the API's certificate. Default: the public ones.",
    )


class NodePoolRef(ApiModel):
    """A pool of nodes, as the operator's settings describe it."""

    name: DnsLabel = Field(description="Name of a pool in the operator's settings.")
    count: int = Field(
        default=1, ge=1, le=64, description="How many of the pool's units (such as GPUs) one replica gets."
    )


class Resources(ApiModel):
    """Requests and limits of the engine container; replaces what the pool gives, entry by entry."""

    requests: dict[str, IntOrString] = Field(
        default={}, max_length=16, description="What the scheduler reserves."
    )
    limits: dict[str, IntOrString] = Field(
        default={}, max_length=16, description="What the container may use at most."
    )


class ScalingMetric(ApiModel):
    """One signal to scale on; the largest result of all metrics wins, as in HPA v2."""

    name: DnsLabel = Field(description="Name of this metric, unique in the list; shown in reasons.")
    type: Literal["TTFT", "Concurrency", "Queue"] = Field(
        description="TTFT: time to first token. Concurrency: requests in flight per replica. "
        "Queue: requests per replica that wait for a slot."
    )
    percentile: int = Field(
        default=95, ge=1, le=99, description="Which percentile of TTFT, over the last minute."
    )
    target: IntOrString = Field(
        description="What to keep the metric at: a duration for TTFT (500ms), a positive number otherwise (8)."
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
        description="Seconds of past wishes the safest of which is taken. Default: 0 up, 300 down.",
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
        description="How far off target, as a ratio, is near enough to do nothing. Default: 0.1.",
    )


class ScalingBehavior(ApiModel):
    """Rate limits and stabilization, per direction."""

    scale_up: ScalingRules = Field(default=ScalingRules(), description="Rules for adding replicas.")
    scale_down: ScalingRules = Field(default=ScalingRules(), description="Rules for taking replicas away.")


class Scaling(ApiModel):
    """Let the operator choose the number of replicas."""

    min_replicas: int = Field(default=1, ge=1, le=10000, description="Never fewer.")
    max_replicas: int = Field(ge=1, le=10000, description="Never more.")
    metrics: list[ScalingMetric] = Field(
        min_length=1,
        max_length=8,
        description="Signals to scale on; the largest result wins.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    behavior: ScalingBehavior = Field(
        default=ScalingBehavior(), description="How fast replicas may change, as in HPA v2."
    )


class Rollout(ApiModel):
    """How pods are replaced, started and stopped."""

    max_surge: int = Field(
        default=1, ge=0, le=100, description="Pods above the wanted number during a rollout."
    )
    max_unavailable: int = Field(
        default=0, ge=0, le=100, description="Pods below the wanted number during a rollout."
    )
    drain_timeout: Duration = Field(
        default="2m", description="How long a stopping pod may finish running requests."
    )
    startup_timeout: Duration = Field(default="30m", description="How long a pod may take to load its model.")


class ModelTierSpec(ApiModel):
    """What the user wants of a tier."""

    model: ModelSource | None = Field(
        default=None,
        description="The model to serve. Required with vllm and llamaCpp, not allowed with external.",
    )
    vllm: VllmEngine | None = Field(default=None, description="Serve with vLLM.")
    llama_cpp: LlamaCppEngine | None = Field(
        default=None, description="Serve a GGUF file with llama.cpp's server."
    )
    external: ExternalApi | None = Field(
        default=None, description="Serve through somebody else's OpenAI-compatible API."
    )
    node_pool: NodePoolRef | None = Field(
        default=None, description="Kind of node to run on. Default: any node, with the resources given here."
    )
    resources: Resources | None = Field(default=None, description="Overrides of the pool's resources.")
    replicas: int = Field(
        default=1,
        ge=0,
        le=10000,
        description="Number of replicas when scaling is unset; the starting number otherwise.",
    )
    scaling: Scaling | None = Field(
        default=None, description="Let the operator choose the number of replicas."
    )
    rollout: Rollout = Field(default=Rollout(), description="How pods are replaced, started and stopped.")
    suspend: bool = Field(
        default=False, description="Run no replicas, and send no requests, until this is false again."
    )


class ModelStatus(ApiModel):
    """What is served right now."""

    revision: str | None = Field(default=None, description="Commit that the pods use.")


class LastScale(ApiModel):
    """The last change of the wanted number of replicas."""

    time: str = Field(description="When it was decided.", json_schema_extra={"format": "date-time"})
    from_replicas: int = Field(alias="from", description="Replicas wanted before.")
    to_replicas: int = Field(alias="to", description="Replicas wanted after.")
    reason: str = Field(description="One CamelCase word for the cause.")
    message: str = Field(default="", max_length=1024, description="The cause, for people.")


class ModelTierStatus(ApiModel):
    """What is.  desiredReplicas, lastScale and ScalingActive belong to the capacity loop, the rest to the structure loop."""

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
    endpoint: str | None = Field(default=None, description="Base URL of the tier inside the cluster.")
    model: ModelStatus | None = Field(default=None, description="What is served right now.")
    last_scale: LastScale | None = Field(
        default=None, description="The last change of the wanted number of replicas."
    )
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        description="Ready, Reconciling, Stalled, ResolvedRefs, WorkloadAvailable, ScalingActive.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class ModelTier(ApiModel):
    """One model on one kind of node, scaled as one pool."""

    metadata: ObjectMeta
    spec: ModelTierSpec
    status: ModelTierStatus = ModelTierStatus()

    @property
    def served_name(self) -> str:
        """The model name that the tier's engine answers to."""
        if self.spec.external is not None:
            return self.spec.external.model
        return (self.spec.model and self.spec.model.served_name) or self.metadata.name

    @property
    def slots(self) -> int | None:
        """Requests one replica works on at the same time; None for an external API, whose capacity is not ours to know."""
        if self.spec.vllm is not None:
            return self.spec.vllm.max_num_seqs
        return self.spec.llama_cpp.slots if self.spec.llama_cpp is not None else None
