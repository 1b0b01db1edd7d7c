"""CEL rules that travel with the models into the CRD, where the API server enforces them at apply.

A rule is written next to the field or model it constrains, and its message says what to write instead.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """`cel` must be true of `self`, else the user reads `message`.

    Put it into an `Annotated` type, or into a model's `rules`.  `at` is the path of the field to blame, such as
    `.replicas`; by default the value itself.  A rule that mentions `oldSelf` runs on updates only.
    """

    cel: str
    message: str
    at: str = ""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return with_rules(handler(core), self)


def with_rules(schema: dict[str, Any], *rules: Rule) -> dict[str, Any]:
    """A copy of `schema` with `rules` after those it has."""
    if not rules:
        return schema
    return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, []), *map(_as_json, rules)]}


def _as_json(rule: Rule) -> dict[str, str]:
    path = {"fieldPath": rule.at} if rule.at else {}
    return {"rule": rule.cel, "message": rule.message, **path}


def literal(values: list[str] | tuple[str, ...]) -> str:
    """`values` as a CEL list of strings.  They must hold neither quotes nor backslashes."""
    assert not any(char in value for value in values for char in "'\\")
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"
