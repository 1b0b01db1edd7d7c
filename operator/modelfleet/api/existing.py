"""A workload that somebody else made: where it answers, and what may be scaled."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from modelfleet import names
from modelfleet.api.cel import Rule
from modelfleet.api.meta import ApiModel, DnsLabel, DnsName, matches
from modelfleet.api.scalars import IntOrString

# What the engines themselves take where nobody says.
SLOTS_DEFAULT = {"vllm": 256, "llamaCpp": 4}


class ServiceRef(ApiModel):
    """A port of a Service."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.port) || (type(self.port) == int ? int(self.port) >= 1 && int(self.port) <= 65535 "
            ": string(self.port).matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
            "port must be a port of the Service: its number, such as 8000, or its name, such as http",
            at=".port",
        ),
    )

    name: DnsLabel = Field(description="Name of the Service, in the same namespace.")
    port: IntOrString | None = Field(
        default=None,
        description="Which of the Service's ports, by number (of the Service, not of the pods) or by name. Default: its only one.",
    )


class ScaleTargetRef(ApiModel):
    """An object with a scale subresource."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!self.apiVersion.startsWith('{names.GROUP}/')",
            "the operator scales its own objects by itself: name the workload, such as a Deployment",
            at=".apiVersion",
        ),
    )

    api_version: Annotated[
        str,
        Field(min_length=1, max_length=317),
        matches(
            r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+$",
            "must be a group and a version, such as apps/v1 or kubeai.org/v1",
        ),
    ] = Field(description="Group and version of its kind, such as apps/v1.")
    kind: Annotated[
        str,
        Field(min_length=1, max_length=63),
        matches(r"^[A-Za-z][A-Za-z0-9]*$", "must be a kind, such as Deployment"),
    ] = Field(description="Its kind, such as Deployment or StatefulSet.")
    name: DnsName = Field(description="Its name, in the same namespace.")


class ExistingWorkload(ApiModel):
    """Serve through pods that somebody else runs."""

    engine: Literal["vllm", "llamaCpp"] = Field(
        description="What runs in the pods; the router asks each in its own way for log probabilities."
    )
    service_ref: ServiceRef = Field(
        description="The Service whose endpoints get the requests. It must speak the OpenAI API under /v1."
    )
    scale_target_ref: ScaleTargetRef | None = Field(
        default=None,
        description="What scaling changes, through its scale subresource and nothing else: a Deployment, a StatefulSet, or "
        "any object that has one. Default: nothing is ever scaled.",
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Requests one replica works on at the same time: what its --max-num-seqs (vLLM) or --parallel "
        "(llama.cpp) says. Default: 256 for vllm, 4 for llamaCpp.",
    )
