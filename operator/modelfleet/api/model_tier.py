"""ModelTier: one model on one kind of node, scaled as one pool."""

from typing import ClassVar, Literal

from pydantic import Field

from modelfleet.api.cel import Rule
from modelfleet.api.existing import SLOTS_DEFAULT, ExistingWorkload
from modelfleet.api.meta import ApiModel, DnsLabel, Duration, ObjectMeta
from modelfleet.api.model_tier_status import ModelTierStatus
from modelfleet.api.scalars import ResourceList
from modelfleet.api.scaling import Scaling
from modelfleet.api.serving import ExternalApi, LlamaCppEngine, ModelSource, Price, VllmEngine


class NodePoolRef(ApiModel):
    """A pool of nodes, as the operator's settings describe it."""

    name: DnsLabel = Field(description="Name of a pool in the operator's settings.")
    count: int = Field(
        default=1, ge=1, le=64, description="How many of the pool's units (such as GPUs) one replica gets."
    )


class Resources(ApiModel):
    """Requests and limits of the engine container; replaces what the pool gives, entry by entry."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
            "quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
            "requests must not be above limits",
            at=".requests",
        ),
    )

    requests: ResourceList = Field(
        default={}, description="What the scheduler reserves, by resource, such as cpu: 2 and memory: 4Gi."
    )
    limits: ResourceList = Field(
        default={}, description="What the container may use at most, by resource, such as nvidia.com/gpu: 1."
    )


class Rollout(ApiModel):
    """How pods are replaced, started and stopped."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # The server checks the default {} before it fills in the fields.
            "!has(self.maxSurge) || !has(self.maxUnavailable) || self.maxSurge > 0 || self.maxUnavailable > 0",
            "maxSurge and maxUnavailable must not both be 0: no pod could be replaced",
        ),
    )

    max_surge: int = Field(
        default=1, ge=0, le=100, description="Pods above the wanted number during a rollout."
    )
    max_unavailable: int = Field(
        default=0, ge=0, le=100, description="Pods below the wanted number during a rollout."
    )
    drain_timeout: Duration = Field(
        default="2m",
        description="How long a stopping pod may go on with the requests it has. New ones go elsewhere at once.",
    )
    startup_timeout: Duration = Field(
        default="30m",
        description="How long a pod may take to fetch and load its model before it is restarted.",
    )


class Routing(ApiModel):
    """How the router chooses a replica."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.strategy == 'PrefixAffinity' || self.prefixCharacters == 128",
            "prefixCharacters is for PrefixAffinity only: leave it out",
            at=".prefixCharacters",
        ),
    )

    strategy: Literal["LeastInFlight", "PrefixAffinity"] = Field(
        default="LeastInFlight",
        description="LeastInFlight: the replica with the fewest requests. PrefixAffinity: requests that begin alike "
        "go to one replica, which has their beginning in its cache, unless it has a quarter more to do than the mean.",
    )
    prefix_characters: int = Field(
        default=128,
        ge=1,
        le=65536,
        description="What counts as the beginning: so many characters of each message up to the first one of the user.",
    )


# The server fills in every default, so what nobody wrote can be told by its values only.
_ROLLOUT_UNSET = (
    "self.rollout.maxSurge == 1 && self.rollout.maxUnavailable == 0 "
    "&& self.rollout.drainTimeout == '2m' && self.rollout.startupTimeout == '30m'"
)


class ModelTierSpec(ApiModel):
    """What the user wants of a tier."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.vllm), has(self.llamaCpp), has(self.external), has(self.existing)].filter(engine, engine).size() == 1",
            "give exactly one engine: vllm, llamaCpp (llamaCpp: {} is enough), external or existing",
        ),
        Rule(
            "has(self.external) || has(self.existing) || (has(self.model) && has(self.model.uri))",
            "vllm and llamaCpp need model: give model.uri, such as hf://owner/repository or pvc://claim/path",
        ),
        Rule(
            "!has(self.external) || !has(self.model)",
            "an external tier names its model in external.model: remove model",
            at=".model",
        ),
        Rule(
            "!has(self.external) || (!has(self.nodePool) && !has(self.resources) && !has(self.scaling) && self.replicas == 1 "
            f"&& {_ROLLOUT_UNSET})",
            "an external tier has no pods: remove nodePool, resources, scaling, rollout and replicas",
        ),
        Rule(
            "!has(self.external) || !has(self.routing)",
            "an external tier has no replicas to choose from: remove routing",
            at=".routing",
        ),
        Rule(
            "!has(self.external) || !has(self.price) || !has(self.price.perReplicaHour)",
            "an external tier has no replicas that cost: give inputPerMillionTokens and outputPerMillionTokens instead",
            at=".price",
        ),
        Rule(
            "!has(self.llamaCpp) || !has(self.model) || !has(self.model.uri) || (has(self.model.file) "
            "? self.model.file.endsWith('.gguf') : self.model.uri.startsWith('pvc://') && self.model.uri.endsWith('.gguf'))",
            "llamaCpp needs a GGUF file: set model.file to its path in the source, such as model-q4.gguf, "
            "or end a pvc:// uri in it",
            at=".model",
        ),
        Rule(
            "!has(self.vllm) || !has(self.model) || !has(self.model.file)",
            "model.file is for llamaCpp: vllm serves the whole folder, remove it",
            at=".model",
        ),
        Rule(
            "!has(self.scaling) || !has(self.scaling.metrics) || has(self.vllm) || (has(self.existing) && self.existing.engine == 'vllm') "
            "|| !self.scaling.metrics.exists(metric, metric.type == 'KVCache')",
            "only vLLM says how full its KV cache is: use a Queue or Concurrency metric",
            at=".scaling.metrics",
        ),
        Rule(
            "!has(oldSelf.scaling) || !has(self.scaling) || self.replicas == oldSelf.replicas",
            "replicas cannot change while scaling is set: change scaling.minReplicas or maxReplicas, "
            "or remove scaling first",
            at=".replicas",
        ),
        Rule(
            "!has(self.existing) || (has(self.model) && has(self.model.servedName))",
            "existing needs model.servedName: what the engine calls its model, as its /v1/models says",
        ),
        Rule(
            "!has(self.existing) || !has(self.model) || (!has(self.model.uri) && !has(self.model.file) "
            "&& !has(self.model.credentialsSecretRef) && !has(self.model.cacheClaim) && self.model.revision == 'main')",
            "an existing workload has its model already: give model.servedName and nothing else of model",
            at=".model",
        ),
        Rule(
            f"!has(self.existing) || (!has(self.resources) && {_ROLLOUT_UNSET})",
            "an existing workload's pods are its owner's: remove resources and rollout",
        ),
        Rule(
            "!has(self.existing) || self.replicas == 1",
            "an existing workload keeps the replicas it has: remove replicas; change them at the workload, or set scaling",
            at=".replicas",
        ),
        Rule(
            "!has(self.existing) || !has(self.scaling) || has(self.existing.scaleTargetRef)",
            "scaling needs existing.scaleTargetRef, which says what to scale: add it, or remove scaling",
            at=".scaling",
        ),
        Rule(
            # What was decided about one workload says nothing about another.
            "!has(oldSelf.scaling) || !has(self.scaling) || (has(oldSelf.existing) == has(self.existing) "
            "&& (!has(self.existing) || !has(oldSelf.existing.scaleTargetRef) || !has(self.existing.scaleTargetRef) "
            "|| self.existing.scaleTargetRef == oldSelf.existing.scaleTargetRef))",
            "what is scaled cannot change while scaling is set: remove scaling, apply, then set it again",
        ),
    )

    model: ModelSource | None = Field(
        default=None,
        description="The model to serve. Required with vllm and llamaCpp, not allowed with external; with existing, "
        "servedName alone.",
    )
    vllm: VllmEngine | None = Field(default=None, description="Serve with vLLM.")
    llama_cpp: LlamaCppEngine | None = Field(
        default=None, description="Serve a GGUF file with llama.cpp's server."
    )
    external: ExternalApi | None = Field(
        default=None, description="Serve through somebody else's OpenAI-compatible API."
    )
    existing: ExistingWorkload | None = Field(
        default=None,
        description="Serve through pods in this namespace that somebody else runs, such as a Deployment of your own. Requests "
        "go to them and scaling may change how many there are; nothing else of theirs is touched.",
    )
    node_pool: NodePoolRef | None = Field(
        default=None,
        description="Kind of node to run on, as the operator's settings describe it. Default: any node, with the resources given "
        "here. Of an existing workload it tells where its pods are, for their price and the pool's limit.",
    )
    resources: Resources | None = Field(
        default=None,
        description="Requests and limits of the engine container; each entry replaces the pool's.",
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=10000,
        description="Number of replicas when scaling is unset; the starting number otherwise. "
        "It cannot change while scaling is set.",
    )
    scaling: Scaling | None = Field(
        default=None,
        description="Let the operator choose the number of replicas, from what is measured of its load.",
    )
    routing: Routing | None = Field(
        default=None, description="How the router chooses a replica. Default: by load alone."
    )
    price: Price | None = Field(
        default=None,
        description="What its tokens cost, for the dollars that the router counts and for limits.maxCostPerRequest of a Cascade, "
        "or what a replica costs, for a Cascade's budget. Default: tokens nothing, replicas as their node pool says.",
    )
    rollout: Rollout = Field(default=Rollout(), description="How pods are replaced, started and stopped.")
    suspend: bool = Field(
        default=False,
        description="Run no replicas, and send no requests, until this is false again. An existing workload keeps its replicas.",
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
    def engine(self) -> str:
        """The engine that the spec names: vllm, llamaCpp or external."""
        if self.spec.external is not None:
            return "external"
        if self.spec.existing is not None:
            return self.spec.existing.engine
        return "vllm" if self.spec.vllm is not None else "llamaCpp"

    @property
    def scalable(self) -> bool:
        """Whether there is a number of replicas to decide on: of pods of ours, or of a workload that we may scale."""
        if self.spec.scaling is None or self.spec.external is not None:
            return False
        found = self.status.existing
        return self.spec.existing is None or (found is not None and found.replicas is not None)

    @property
    def found(self) -> bool:
        """Whether its address is known: that of a workload which exists already has to be looked up."""
        seen = self.status.existing
        return self.spec.existing is None or (seen is not None and seen.port_name is not None)

    @property
    def cold(self) -> bool:
        """Nothing runs because there were no requests, or the first replica is on its way: requests may wait for it.

        Nobody wakes a tier that is paused.
        """
        scaling = self.spec.scaling
        may_sleep = scaling is not None and scaling.idle is not None and not self.spec.suspend
        if not may_sleep or self.metadata.paused:
            return False
        return any(each.type == "Cold" and each.status == "True" for each in self.status.conditions)

    @property
    def slots(self) -> int | None:
        """Requests one replica works on at the same time; None for an external API, whose capacity is not ours to know."""
        if (existing := self.spec.existing) is not None:
            return existing.slots or SLOTS_DEFAULT[existing.engine]
        if self.spec.vllm is not None:
            return self.spec.vllm.max_num_seqs
        return self.spec.llama_cpp.slots if self.spec.llama_cpp is not None else None
