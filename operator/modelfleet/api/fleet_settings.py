"""What an administrator tells the operator: key `settings.yaml` of its settings ConfigMap, read again on change."""

from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from modelfleet.api.meta import ApiModel, DnsLabel, DnsName, Duration, seconds
from modelfleet.api.scalars import IntOrString

SETTINGS_KEY = "settings.yaml"
_INTERVAL_S_MAX = 600.0


class SettingsModel(ApiModel):
    """Unlike an object's spec, settings refuse fields they do not know: a typo must not pass silently."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid"
    )


class ResourceAmounts(SettingsModel):
    """Requests and limits, as in a pod."""

    requests: dict[str, IntOrString] = Field(default={}, description="What the scheduler reserves.")
    limits: dict[str, IntOrString] = Field(default={}, description="What the container may use at most.")


class PoolImages(SettingsModel):
    """Images for one pool, such as a CUDA build."""

    vllm: str | None = Field(default=None, description="Image of vLLM. Default: images.vllm.")
    llama_cpp: str | None = Field(
        default=None, description="Image of llama.cpp's server. Default: images.llamaCpp."
    )


class NodePool(SettingsModel):
    """A kind of node.  Everything but resources is copied into the pods as it is."""

    node_selector: dict[str, str] = Field(default={}, description="Labels that a node must carry.")
    tolerations: list[dict[str, Any]] = Field(default=[], description="Taints that pods tolerate.")
    affinity: dict[str, Any] = Field(default={}, description="Affinity of pods.")
    topology_spread_constraints: list[dict[str, Any]] = Field(
        default=[], description="How pods spread; without a labelSelector, the tier's own pods are meant."
    )
    priority_class_name: str | None = Field(default=None, description="Priority class of pods.")
    runtime_class_name: str | None = Field(default=None, description="Runtime class of pods.")
    image_pull_secrets: list[dict[str, str]] = Field(default=[], description="Secrets that pull images.")
    labels: dict[str, str] = Field(default={}, description="Further labels of pods.")
    annotations: dict[str, str] = Field(default={}, description="Further annotations of pods.")
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(), description="Resources per unit; multiplied by nodePool.count."
    )
    images: PoolImages = Field(default=PoolImages(), description="Images for this pool.")
    price_per_hour: str | None = Field(
        default=None,
        pattern=r"^[0-9]+(\.[0-9]+)?$",
        description="US dollars per hour and unit: what plans weigh tiers by, and budgets count.",
    )
    max_units: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Units that all tiers of the pool may have together, nodePool.count for each replica. Tiers that scale "
        "share what the others leave. Default: no limit but their maxReplicas.",
    )


class Images(SettingsModel):
    """Container images, where neither the tier nor its pool names one."""

    vllm: str = Field(default="vllm/vllm-openai:v0.20.0", description="Serves vLLM tiers.")
    llama_cpp: str = Field(default="ghcr.io/ggml-org/llama.cpp:server", description="Serves llama.cpp tiers.")
    router: str = Field(default="ghcr.io/modelfleet/modelfleet-router:0.1.0", description="Runs routers.")
    downloader: str = Field(
        default="ghcr.io/modelfleet/modelfleet-downloader:0.1.0",
        description="Downloads hf:// models: any image with python3 and huggingface_hub.",
    )


class SecretName(SettingsModel):
    """Names a Secret."""

    name: DnsName = Field(description="Name of the Secret, in the namespace of each router.")


class ApiKeySettings(SettingsModel):
    """Who may use the routers."""

    secret_ref: SecretName = Field(
        description="Secret with one entry per key. Mounted into routers; the operator never reads it."
    )


class AccessLogSettings(SettingsModel):
    """One JSON line per request in the logs of routers."""

    sample_percent: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Share of requests that get a line. Above 0, those that fail get one too. Default: no lines.",
    )


def _is_network(value: str) -> str:
    ip_network(value)
    return value


Network = Annotated[str, Field(max_length=64), AfterValidator(_is_network)]


class AddressSettings(SettingsModel):
    """Where external tiers may be reached."""

    allow: list[Network] = Field(
        default=[],
        description="Networks, such as 203.0.113.0/24, outside of which nothing is sent. Default: none, and all is "
        "allowed that is not denied.",
    )
    deny: list[Network] = Field(
        default=[],
        description="Networks where nothing is sent. Loopback, link-local, metadata and multicast addresses are denied "
        "anyway, unless allow names them.",
    )


class TracingSettings(SettingsModel):
    """Spans of requests and their attempts."""

    endpoint: str | None = Field(
        default=None,
        pattern="^https?://",
        max_length=2048,
        description="Base URL of an OTLP/HTTP collector; spans go to its /v1/traces. Default: none, and nothing is traced.",
    )
    sample_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="Share of requests that are traced, of those whose caller has not decided it.",
    )


class RouterSettings(SettingsModel):
    """Routers that a namespace's Cascades share."""

    replicas: int = Field(default=2, ge=1, le=100, description="Pods of a shared router.")
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(requests={"cpu": "100m", "memory": "64Mi"}, limits={"memory": "256Mi"}),
        description="Resources of a router pod.",
    )
    api_keys: ApiKeySettings | None = Field(
        default=None,
        description="Keys that clients need. Default: none, and whoever reaches a router may use it.",
    )
    access_log: AccessLogSettings = Field(
        default=AccessLogSettings(), description="What routers tell of requests."
    )
    tracing: TracingSettings = Field(
        default=TracingSettings(), description="Spans of requests and their attempts."
    )
    external_addresses: AddressSettings = Field(
        default=AddressSettings(), description="Where external tiers may be reached."
    )


class PrometheusSettings(SettingsModel):
    """Where measurements come from."""

    url: str | None = Field(
        default=None,
        description="Base URL. Default: none; load is then read from routers and engines directly.",
    )
    bearer_token_file: str | None = Field(
        default=None, description="File with a bearer token, read again each time."
    )
    ca_file: str | None = Field(default=None, description="CA certificates (PEM). Default: the public ones.")
    client_cert_file: str | None = Field(default=None, description="Client certificate (PEM).")
    client_key_file: str | None = Field(default=None, description="Key of the client certificate (PEM).")
    headers: dict[str, str] = Field(
        default={}, description="Further headers, such as X-Scope-OrgID of a tenant."
    )
    timeout: Duration = Field(default="5s", description="Longest wait for one query.")


class HubSettings(SettingsModel):
    """Where hf:// models come from."""

    endpoint: str = Field(
        default="https://huggingface.co", description="Base URL of the hub, or of a mirror of it."
    )
    timeout: Duration = Field(default="5s", description="Longest wait when a revision is resolved.")


def _often_enough(interval: str) -> str:
    if seconds(interval) > _INTERVAL_S_MAX:
        raise ValueError("must be at most 10m: what the load did between two decisions is forgotten")
    return interval


class CapacitySettings(SettingsModel):
    """The loop that decides replicas and weights."""

    interval: Annotated[Duration, AfterValidator(_often_enough)] = Field(
        default="15s", description="Time between two decisions, at most 10m."
    )
    cold_start: Duration = Field(
        default="2m",
        description="How long a new replica takes to answer, where neither its profile nor three past starts tell.",
    )
    engine_metrics: Literal["Required", "Optional"] = Field(
        default="Required",
        description="Required: a planned tier shrinks only while all of its engines tell what waits in them. Optional: where "
        "nobody can read any of them, what routers tell is enough.",
    )


class EngineProfile(SettingsModel):
    """How fast one replica of a model is on its accelerator.  Times of a step of continuous batching, in seconds."""

    step_seconds: float = Field(gt=0, lt=60, description="Of a step, however little is in it.")
    step_seconds_per_sequence: float = Field(ge=0, lt=1, description="For each sequence that decodes in it.")
    step_seconds_per_context_token: float = Field(
        ge=0, lt=1, description="For each token of the contexts of these sequences."
    )
    step_seconds_per_prompt_token: float = Field(
        gt=0, lt=1, description="For each token of a prompt that is read in it."
    )
    prefill_step_seconds_min: float = Field(
        default=0.0, ge=0, lt=60, description="Shortest step that reads a prompt."
    )
    first_token_seconds: float = Field(
        default=0.002, ge=0, lt=60, description="Of a request beside the steps: parsing, scheduling, sending."
    )
    sequences_max: int = Field(ge=1, le=100_000, description="Sequences that run at a time.")
    step_tokens_max: int = Field(
        default=8192, ge=1, le=10_000_000, description="Tokens that are decoded and read in one step."
    )
    kv_tokens: int = Field(ge=1, le=10_000_000_000, description="Tokens of contexts that fit into memory.")
    logprob_slowdown: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Share of a step that log probabilities of all its sequences add.",
    )
    cold_start: Duration | None = Field(
        default=None, description="How long a new replica takes to answer. Default: capacity.coldStart."
    )


class FleetSettings(SettingsModel):
    """All of it; every part has defaults."""

    node_pools: dict[DnsLabel, NodePool] = Field(default={}, description="Kinds of node by name.")
    images: Images = Field(default=Images(), description="Container images.")
    router: RouterSettings = Field(default=RouterSettings(), description="Shared routers.")
    prometheus: PrometheusSettings = Field(
        default=PrometheusSettings(), description="Where measurements come from."
    )
    hub: HubSettings = Field(default=HubSettings(), description="Where hf:// models come from.")
    capacity: CapacitySettings = Field(default=CapacitySettings(), description="The capacity loop.")
    profiles: dict[DnsName, EngineProfile] = Field(
        default={},
        description="How fast engines are, by the name that scaling.profile gives. They go before those the operator brings.",
    )
    image_pull_secrets: list[DnsName] = Field(
        default=[], description="Names of Secrets that pull images, in the namespace of the pods."
    )
