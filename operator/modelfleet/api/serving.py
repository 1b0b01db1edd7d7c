"""What a tier serves, and with which engine."""

from typing import Annotated, ClassVar

from pydantic import Field

from modelfleet.api import engine_flags
from modelfleet.api.cel import Rule
from modelfleet.api.meta import ApiModel, ConfigMapKeyRef, DnsName, EnvVar, SecretKeyRef, list_map
from modelfleet.api.scalars import BaseUrl, Dollars, FilePath, Image, ModelName, ModelUri, Revision

ARGS_MAX = 64
VllmArg = Annotated[str, Field(max_length=2048), *engine_flags.vllm_arg_rules()]
LlamaCppArg = Annotated[str, Field(max_length=2048), *engine_flags.llama_cpp_arg_rules()]


class ModelSource(ApiModel):
    """Where the weights come from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.file) || !has(self.uri) || !(self.uri.startsWith('pvc://') && self.uri.endsWith('.gguf'))",
            "uri already names the GGUF file: leave file out, or end uri at the folder",
            at=".file",
        ),
        Rule(
            "!has(self.uri) || self.uri.startsWith('hf://') || (self.revision == 'main' && !has(self.credentialsSecretRef) "
            "&& !has(self.cacheClaim))",
            "revision, credentialsSecretRef and cacheClaim are for hf:// sources: leave them out",
        ),
    )

    uri: ModelUri | None = Field(
        default=None,
        description="Where the model lives: hf://owner/repository (downloaded from the hub) "
        "or pvc://claim/path (a folder or file in a PersistentVolumeClaim, mounted read-only). "
        "Left out only where the pods have their model already: see existing.",
    )
    revision: Revision = Field(
        default="main",
        description="Branch, tag or commit of an hf:// source. It is resolved to a commit when uri or revision changes; "
        "pods use that commit, and status.model.revision shows it.",
    )
    file: FilePath | None = Field(
        default=None,
        description="Path of the GGUF file inside the source. Needed by llamaCpp unless a pvc:// uri itself ends in .gguf; "
        "not for vllm.",
    )
    served_name: ModelName | None = Field(
        default=None,
        description="Model name the engine answers to. Default: the ModelTier's name.",
    )
    credentials_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Token for the hub, for a private or gated repository. It is given to the download only; the operator "
        "itself never reads it.",
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
        default=None, ge=1, description="Context of one request, in tokens. Default: the model's own."
    )
    max_num_seqs: int = Field(
        default=256, ge=1, le=65536, description="Sequences one replica works on at the same time."
    )
    tensor_parallel_size: int | None = Field(
        default=None, ge=1, le=64, description="GPUs one replica spans. Default: nodePool.count, else 1."
    )
    args: Annotated[list[VllmArg], Field(max_length=ARGS_MAX), engine_flags.FLAGS_FIRST] = Field(
        default=[],
        description="Further arguments of `vllm serve`, for what has no field here; one word per item. "
        "Flags that the operator sets are refused.",
    )
    env: Annotated[list[EnvVar], Field(max_length=64), engine_flags.VLLM_ENV] = Field(
        default=[],
        description="Environment variables of the engine.",
        json_schema_extra=list_map("name"),
    )


class LlamaCppEngine(ApiModel):
    """Serve a GGUF file with llama.cpp's server."""

    image: Image | None = Field(
        default=None, description="Container image. Default: the node pool's or the operator's."
    )
    context_length: int = Field(
        default=8192, ge=64, description="Context in tokens, divided evenly among the slots of a replica."
    )
    slots: int = Field(default=4, ge=1, le=256, description="Requests one replica works on at the same time.")
    threads: int | None = Field(
        default=None, ge=1, le=512, description="CPU threads for generation. Default: the engine's choice."
    )
    args: Annotated[list[LlamaCppArg], Field(max_length=ARGS_MAX), engine_flags.FLAGS_FIRST] = Field(
        default=[],
        description="Further arguments of `llama-server`, for what has no field here; one word per item. "
        "Flags that the operator sets are refused.",
    )
    env: Annotated[list[EnvVar], Field(max_length=64), engine_flags.LLAMA_CPP_ENV] = Field(
        default=[],
        description="Environment variables of the engine.",
        json_schema_extra=list_map("name"),
    )


class Price(ApiModel):
    """What tokens cost, or replicas."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.inputPerMillionTokens) == has(self.outputPerMillionTokens)",
            'give inputPerMillionTokens and outputPerMillionTokens together, "0" for what is free',
        ),
        Rule(
            "has(self.inputPerMillionTokens) || has(self.perReplicaHour)",
            "give inputPerMillionTokens and outputPerMillionTokens, or perReplicaHour, or leave price out",
        ),
    )

    input_per_million_tokens: Dollars | None = Field(
        default=None, description="US dollars for a million tokens of prompts, as a decimal string."
    )
    output_per_million_tokens: Dollars | None = Field(
        default=None, description="US dollars for a million tokens of answers, as a decimal string."
    )
    per_replica_hour: Dollars | None = Field(
        default=None,
        description="US dollars for an hour of one replica, as a decimal string. Default: the node pool's price of its units.",
    )


class ExternalApi(ApiModel):
    """Serve through somebody else's OpenAI-compatible API."""

    base_url: BaseUrl = Field(
        alias="baseURL",
        description="Base URL of the API up to and including /v1. https://, unless the host is private: localhost, a name "
        "without dots, one that ends in .svc, .cluster.local or .internal, or a private IP address.",
    )
    model: ModelName = Field(description="Model name the API knows.")
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="API key, sent as a bearer token. Mounted into the router; the operator never reads it.",
    )
    ca_config_map_ref: ConfigMapKeyRef | None = Field(
        default=None,
        description="CA certificates (PEM) that sign the API's certificate. Default: the public ones.",
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Requests that all routers together send in any minute, retries included. Default: no limit but the API's own.",
    )
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Tokens of prompts and answers, as the API counts them, of all routers together in a minute. What is under "
        "way counts with the mean of what was. Default: no limit but the API's own.",
    )
