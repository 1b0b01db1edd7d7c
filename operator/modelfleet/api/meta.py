"""What all our kinds share: the model base, object metadata, conditions, and the scalar types of the schema."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from modelfleet import names
from modelfleet.api.cel import Rule, with_rules

# Digits are bounded so that CEL's duration() cannot overflow, which would hide our message behind its own.
_DURATION_UNIT = r"[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)"
DURATION_PATTERN = rf"^({_DURATION_UNIT}){{1,4}}$"
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS_PER = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_MAX = "24h"


def seconds(duration: str) -> float:
    """Seconds in a Go-style duration such as `500ms`, `2m` or `1h30m`.  Raises ValueError for anything else."""
    if not re.fullmatch(DURATION_PATTERN, duration):
        raise ValueError(f"not a duration like 500ms, 2m or 1h30m: {duration!r}")
    return sum(float(number) * _SECONDS_PER[unit] for number, unit in _DURATION_PART.findall(duration))


def rfc3339(at_s: float) -> str:
    """Seconds since the epoch as the API server writes time."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_duration(value: str) -> str:
    seconds(value)
    return value


def cel_duration(value: str) -> str:
    """CEL that is true when the string `value` is a duration above zero and at most a day."""
    return (
        f"{value}.matches('{escaped(DURATION_PATTERN)}') "
        f"&& duration({value}) > duration('0s') && duration({value}) <= duration('{DURATION_MAX}')"
    )


def escaped(pattern: str) -> str:
    """`pattern` as it is written inside a CEL string."""
    return pattern.replace("\\", "\\\\")


def matches(pattern: str, message: str) -> Rule:
    """The string matches `pattern`; said in words, where the schema's own `pattern` would show the expression."""
    return Rule(f"self.matches('{escaped(pattern)}')", message)


Duration = Annotated[
    str,
    Field(max_length=32),
    AfterValidator(_is_duration),
    Rule(
        cel_duration("self"), "must be a duration above zero and at most 24h, such as 500ms, 30s, 2m or 1h30m"
    ),
]
DnsName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matches(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "must be the name of an object: lower case letters, digits, - and .",
    ),
]
DnsLabel = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matches(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be lower case letters, digits and -, starting and ending with a letter or digit",
    ),
]
DataKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matches(r"^[-._a-zA-Z0-9]+$", "must be a key of a Secret or ConfigMap: letters, digits, - _ and ."),
]
Percent = Annotated[int, Field(ge=0, le=100)]
ConditionStatus = Literal["True", "False", "Unknown"]
Manifest = dict[str, Any]  # a Kubernetes object as plain JSON


def list_map(key: str) -> dict[str, Any]:
    """Schema of a list whose items are told apart by `key`, so that several writers can share it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class ApiModel(BaseModel):
    """Frozen, camelCase on the wire.  Unknown fields are ignored on read: a newer CRD may have stored them."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore"
    )
    # What must hold between fields; enforced by the API server, not on read.
    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        # In place: the handler keeps this very object as the definition.
        schema.update(with_rules(schema, *cls.rules))
        return schema


class LocalRef(ApiModel):
    """Names an object in the same namespace."""

    name: DnsName = Field(description="Name of the object, in the same namespace.")


class SecretKeyRef(ApiModel):
    """One key of a Secret in the same namespace."""

    name: DnsName = Field(description="Name of the Secret, in the same namespace.")
    key: DataKey = Field(description="Key inside the Secret.")


class ConfigMapKeyRef(ApiModel):
    """One key of a ConfigMap in the same namespace."""

    name: DnsName = Field(description="Name of the ConfigMap, in the same namespace.")
    key: DataKey = Field(default="ca.crt", description="Key inside the ConfigMap.")


class EnvVar(ApiModel):
    """One environment variable of an engine container."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=128),
        matches(r"^[A-Za-z_][A-Za-z0-9_]*$", "must be letters, digits and _, not starting with a digit"),
    ] = Field(description="Name of the variable.")
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

    @property
    def paused(self) -> bool:
        """Whether the user asked us to leave the object's children alone."""
        return self.annotations.get(names.ANNOTATION_PAUSED) == "true"


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
