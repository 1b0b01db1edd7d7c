"""What all our kinds share: the model base, object metadata, conditions, and the scalar types of the schema."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS_PER = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32)]
DnsName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Percent = Annotated[int, Field(ge=0, le=100)]
ConditionStatus = Literal["True", "False", "Unknown"]
Manifest = dict[str, Any]  # a Kubernetes object as plain JSON


def seconds(duration: str) -> float:
    """Seconds in a Go-style duration such as `500ms`, `2m` or `1h30m`.  Raises ValueError for anything else."""
    if not re.fullmatch(DURATION_PATTERN, duration):
        raise ValueError(f"not a duration like 500ms, 2m or 1h30m: {duration!r}")
    return sum(float(number) * _SECONDS_PER[unit] for number, unit in _DURATION_PART.findall(duration))


class ApiModel(BaseModel):
    """Frozen, camelCase on the wire.  Unknown fields are ignored on read: a newer CRD may have stored them."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore"
    )


class LocalRef(ApiModel):
    """Names an object in the same namespace."""

    name: DnsName = Field(description="Name of the object, in the same namespace.")


class SecretKeyRef(ApiModel):
    """One key of a Secret in the same namespace."""

    name: DnsName = Field(description="Name of the Secret, in the same namespace.")
    key: str = Field(min_length=1, max_length=253, description="Key inside the Secret.")


class ConfigMapKeyRef(ApiModel):
    """One key of a ConfigMap in the same namespace."""

    name: DnsName = Field(description="Name of the ConfigMap, in the same namespace.")
    key: str = Field(default="ca.crt", min_length=1, max_length=253, description="Key inside the ConfigMap.")


class EnvVar(ApiModel):
    """One environment variable of an engine container."""

    name: str = Field(min_length=1, max_length=128, description="Name of the variable.")
    value: str = Field(default="", max_length=4096, description="Its value, taken literally.")


class ObjectMeta(ApiModel):
    """The part of an object's metadata that we read."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None
    creation_timestamp: str | None = None


class Condition(ApiModel):
    """One condition, as in the Kubernetes API conventions."""

    type: str = Field(max_length=64, description="What the condition is about, such as Ready.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(min_length=1, max_length=128, description="One CamelCase word for the cause.")
    message: str = Field(default="", max_length=1024, description="The cause, for people.")
    last_transition_time: str | None = Field(
        default=None,
        description="When status last changed.",
        json_schema_extra={"format": "date-time"},
    )
    observed_generation: int | None = Field(default=None, description="Generation this was judged from.")
