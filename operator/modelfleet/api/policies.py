"""What a Cascade allows: where data may go."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from modelfleet.api.cel import Rule, literal
from modelfleet.api.meta import ApiModel, matches

# Header fields that the router hands on to engines, or reads for something else.
_TAKEN = (
    "accept",
    "authorization",
    "content-length",
    "host",
    "transfer-encoding",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-modelfleet-min-tier",
    "x-modelfleet-tier",
    "x-request-id",
)
HeaderName = Annotated[
    str,
    Field(min_length=1, max_length=64),
    matches(r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", "must be a header name: letters, digits and -"),
    Rule(
        f"!(self.lowerAscii() in {literal(_TAKEN)})",
        "must be a header of its own, such as x-data-class: the router uses this one for something else",
    ),
]
DataClass = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matches(
        r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$",
        "must be lower case letters, digits and . _ -; requests may write it in any case",
    ),
]
_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}


class DataPolicy(ApiModel):
    """Which requests must stay in the cluster."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.localOnly) || !has(self.allowed) || !self.localOnly.exists(c, c in self.allowed)",
            "a class is either in localOnly or in allowed, not in both",
            at=".allowed",
        ),
        Rule(
            "self.unknown != 'Allow' || (has(self.localOnly) && self.localOnly.size() > 0)",
            "this policy keeps nothing inside: name a class in localOnly, or leave unknown at LocalOnly",
            at=".unknown",
        ),
    )

    header: HeaderName = Field(
        default="x-modelfleet-data-class",
        description="Header in which a request names its class of data. Several classes, by commas or in several headers, "
        "count as the strictest of them.",
    )
    local_only: list[DataClass] = Field(
        default=[],
        max_length=64,
        description="Classes that never reach an external tier: not by entry, escalation, overflow, fallback or retry.",
        json_schema_extra=_SET,
    )
    allowed: list[DataClass] = Field(
        default=[],
        max_length=64,
        description="Classes that may reach every tier.",
        json_schema_extra=_SET,
    )
    unknown: Literal["LocalOnly", "Reject", "Allow"] = Field(
        default="LocalOnly",
        description="What to do with any other class, and with a request that names none. LocalOnly: it stays inside. "
        "Reject: it is answered 400. Allow: it may reach every tier.",
    )
