"""pydantic model -> structural schema, the only kind of schema that a CustomResourceDefinition takes.

What pydantic writes is not structural: it has `$ref`, `anyOf null` and `title`.  What has an equal is translated, the
rest is refused by its path: a constraint is never lost in silence.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from modelfleet.api.cel import VALIDATIONS

INT32_MAX = 2**31 - 1
_KEPT = frozenset(
    {
        "type",
        "description",
        "enum",
        "default",
        "format",
        "nullable",
        "required",
        "pattern",
        "minimum",
        "maximum",
    }
    | {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
    | {"x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"}
    | {"x-kubernetes-preserve-unknown-fields", VALIDATIONS}
)
_DROPPED = frozenset({"title"})
_NESTED = frozenset({"properties", "items", "additionalProperties", "anyOf", "const", "$ref", "$defs"})
_REFUSED_BECAUSE = {
    "exclusiveMinimum": "CRDs know it as a boolean only: use ge",
    "exclusiveMaximum": "CRDs know it as a boolean only: use le",
    "uniqueItems": "use a list with a Rule or list_map()",
    "oneOf": "use one optional field per variant and a Rule",
    "allOf": "write the fields out",
    "prefixItems": "use a model instead of a tuple",
    "patternProperties": "use a dict with a Rule on its keys",
    "discriminator": "use one optional field per variant and a Rule",
}


class NotStructural(ValueError):
    """A model says something that a CRD's schema cannot."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")


def structural(model: type[BaseModel], *, defaults: bool = True) -> dict[str, Any]:
    """The structural schema of `model`; without `defaults`, what is absent stays absent.  Raises NotStructural."""
    raw = model.model_json_schema(by_alias=True, schema_generator=_PlainSchema)
    return _Inliner(raw.get("$defs", {}), defaults=defaults).schema(raw, model.__name__)


class _PlainSchema(GenerateJsonSchema):
    """pydantic's schema with Optional as an optional field, and defaults as the API server fills them in."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        # A model's own fields have defaults too, so `{}` says it all and cannot go out of step with them.
        if isinstance(dft, BaseModel):
            return dft.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
        return super().encode_default(dft)


class _Inliner:
    """Rewrites one JSON schema, definition by definition."""

    def __init__(self, defs: Mapping[str, Any], *, defaults: bool) -> None:
        self._defs = defs
        self._defaults = defaults
        self._open: list[str] = []  # definitions being inlined, to find recursion

    def schema(self, raw: Mapping[str, Any], path: str) -> dict[str, Any]:
        if "$ref" in raw:
            return self._referred(raw, path)
        _refuse_unknown(raw, path)
        out = {key: value for key, value in raw.items() if key in _KEPT}
        if "description" in out:
            out["description"] = " ".join(out["description"].split())
        if "const" in raw:
            out["enum"] = [raw["const"]]
        if "anyOf" in raw:
            self._int_or_string(raw, out, path)
        if out.get("type") == "integer":
            out["format"] = "int32" if out.get("maximum", INT32_MAX + 1) <= INT32_MAX else "int64"
        self._default(out)
        self._limits(out)
        self._children(raw, out, path)
        if "type" not in out and "x-kubernetes-int-or-string" not in out:
            raise NotStructural(path, "has no type, which a CRD needs")
        if out.get("type") in ("null", "number"):
            raise NotStructural(
                path, f"type {out['type']} has no place in our API: use an integer or a string"
            )
        return _ordered(out)

    def _referred(self, raw: Mapping[str, Any], path: str) -> dict[str, Any]:
        name = raw["$ref"].removeprefix("#/$defs/")
        if name in self._open:
            raise NotStructural(path, f"{name} holds itself, which a CRD cannot")
        beside = {key: value for key, value in raw.items() if key not in ("$ref", "$defs")}
        self._open.append(name)
        try:
            return self.schema({**self._defs[name], **beside}, path)
        finally:
            self._open.pop()

    def _int_or_string(self, raw: Mapping[str, Any], out: dict[str, Any], path: str) -> None:
        number, *text = raw["anyOf"]
        if number != {"type": "integer"} or [option.get("type") for option in text] != ["string"]:
            raise NotStructural(path, f"is a choice of types other than int | str: {raw['anyOf']}")
        # Limits of the string go beside the choice: that is where the cost of rules is judged from.
        out.update({key: value for key, value in text[0].items() if key != "type"})
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        out["x-kubernetes-int-or-string"] = True

    def _default(self, out: dict[str, Any]) -> None:
        default = out.get("default")
        # Empty lists and maps stay absent: in an object they would be noise.
        empty = default in (None, "") or (default in ([], {}) and not _is_model(out))
        if not self._defaults or empty:
            out.pop("default", None)
        elif not isinstance(default, dict | list) and "description" in out:
            # kubectl explain shows neither defaults nor limits.
            out["description"] += f" Default: {_spelled(default)}."

    def _limits(self, out: dict[str, Any]) -> None:
        low, high = out.get("minimum"), out.get("maximum")
        if "description" not in out or (low is None and high is None):
            return
        at_least = f" At least {low}." if high is None else f" Between {low} and {high}."
        out["description"] += f" At most {high}." if low is None else at_least

    def _children(self, raw: Mapping[str, Any], out: dict[str, Any], path: str) -> None:
        if "properties" in raw:
            out["properties"] = {
                name: self._described(child, f"{path}.{name}") for name, child in raw["properties"].items()
            }
        if "items" in raw:
            out["items"] = self.schema(raw["items"], f"{path}[]")
        values = raw.get("additionalProperties")
        if values is None:
            return
        if "properties" in raw or isinstance(values, bool):
            raise NotStructural(path, "additionalProperties needs one schema and no properties beside it")
        out["additionalProperties"] = self.schema(values, f"{path}{{}}")

    def _described(self, raw: Mapping[str, Any], path: str) -> dict[str, Any]:
        out = self.schema(raw, path)
        if not out.get("description"):
            raise NotStructural(path, "has no description, so kubectl explain would be silent")
        return out


def _is_model(schema: Mapping[str, Any]) -> bool:
    # Called before the children are there: a dict field has kept its additionalProperties out of `schema` too.
    return schema.get("type") == "object" and "maxProperties" not in schema


def _spelled(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _refuse_unknown(raw: Mapping[str, Any], path: str) -> None:
    for key in raw:
        if key in _REFUSED_BECAUSE:
            raise NotStructural(path, f"{key} is not structural; {_REFUSED_BECAUSE[key]}")
        if key not in _KEPT | _DROPPED | _NESTED:
            raise NotStructural(path, f"{key} is not known to crdgen")


_ORDER = ("description", "type", "x-kubernetes-int-or-string", "anyOf", "format", "enum", "default")


def _ordered(schema: dict[str, Any]) -> dict[str, Any]:
    """What a reader wants first, first; the children last."""
    last = ("required", "properties", "items", "additionalProperties", VALIDATIONS)
    head = [key for key in _ORDER if key in schema]
    middle = sorted(key for key in schema if key not in (*_ORDER, *last))
    return {key: schema[key] for key in (*head, *middle, *(key for key in last if key in schema))}
