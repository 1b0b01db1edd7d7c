"""Each thing that pydantic can say: the schema it becomes, or why it is refused."""

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from modelfleet.api.cel import VALIDATIONS, Rule
from modelfleet.api.meta import ApiModel, list_map
from modelfleet.api.structural import NotStructural, structural

POSITIVE = Rule("self > 0", "must be positive")


class Inner(ApiModel):
    """An inner
    object."""

    depth: int = Field(default=3, ge=1, le=9, description="How deep.")


class Odd(ApiModel):
    """One that may be refused."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.a != self.b", "a and b must differ"),)

    a: str = Field(description="A.")
    b: str = Field(default="", description="B.")


class Tree(ApiModel):
    """Holds itself."""

    children: list["Tree"] = Field(default=[], description="More.")


def schema_of(annotation: Any, **field: Any) -> dict[str, Any]:
    """Schema of one field `x` with this type."""
    namespace = {
        "__annotations__": {"x": annotation},
        "x": Field(**{"description": "An x.", **field}),
        "__module__": __name__,
    }
    return structural(type("Model", (ApiModel,), namespace))["properties"]["x"]  # type: ignore[no-any-return]


SAME = {
    "string": (str, {}, {"type": "string"}),
    "bounded string": (
        str,
        {"max_length": 9, "pattern": "^a"},
        {"type": "string", "maxLength": 9, "pattern": "^a"},
    ),
    "boolean": (bool, {}, {"type": "boolean"}),
    "optional is an optional field": (str | None, {"default": None}, {"type": "string"}),
    "optional model": (
        Inner | None,
        {"default": None},
        {
            "type": "object",
            "properties": {
                "depth": {
                    "description": "How deep. Default: 3. Between 1 and 9.",
                    "type": "integer",
                    "format": "int32",
                    "default": 3,
                    "minimum": 1,
                    "maximum": 9,
                }
            },
        },
    ),
    "one word of several": (Literal["A", "B"], {}, {"type": "string", "enum": ["A", "B"]}),
    "one word": (Literal["A"], {}, {"type": "string", "enum": ["A"]}),
    "list": (list[str], {"max_length": 4}, {"type": "array", "items": {"type": "string"}, "maxItems": 4}),
    "list that is a map": (
        list[str],
        {"json_schema_extra": list_map("name")},
        {
            "type": "array",
            "items": {"type": "string"},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    ),
    "map": (dict[str, str], {}, {"type": "object", "additionalProperties": {"type": "string"}}),
    "number or string": (
        int | Annotated[str, Field(max_length=9)],
        {},
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 9,
        },
    ),
    "an empty list is no default": (
        list[str],
        {"default": []},
        {"type": "array", "items": {"type": "string"}},
    ),
    "an empty map is no default": (
        dict[str, str],
        {"default": {}, "max_length": 2},
        {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 2},
    ),
    "rule of a type": (
        Annotated[str, POSITIVE],
        {},
        {"type": "string", VALIDATIONS: [{"rule": "self > 0", "message": "must be positive"}]},
    ),
    "date": (str, {"json_schema_extra": {"format": "date-time"}}, {"type": "string", "format": "date-time"}),
}


@pytest.mark.parametrize(("annotation", "field", "want"), SAME.values(), ids=SAME)
def test_translates(annotation: Any, field: dict[str, Any], want: dict[str, Any]) -> None:
    assert schema_of(annotation, **field) == {"description": "An x.", **want}


REFUSED = {
    "a number with a point": (float, {}, "type number"),
    "anything": (Any, {}, "has no type"),
    "an open bound": (int, {"gt": 0}, "use ge"),
    "an open bound above": (int, {"lt": 9}, "use le"),
    "a set": (set[str], {}, "uniqueItems"),
    "a tuple": (tuple[str, int], {}, "prefixItems"),
    "a choice of two models": (Inner | Odd, {}, "choice of types"),
    "a choice of string and number": (str | float, {}, "choice of types"),
    "a keyword nobody knows": (str, {"json_schema_extra": {"x-mine": 1}}, "x-mine is not known to crdgen"),
    "no description": (str, {"description": None}, "has no description"),
    "nothing": (None, {}, "type null"),
    "a model within itself": (Tree, {}, "Tree holds itself"),
}


@pytest.mark.parametrize(("annotation", "field", "why"), REFUSED.values(), ids=REFUSED)
def test_refuses_by_path(annotation: Any, field: dict[str, Any], why: str) -> None:
    with pytest.raises(NotStructural, match=r"^Model\.x") as refused:
        schema_of(annotation, **field)

    assert why in str(refused.value)


def test_refuses_a_model_that_forbids_more() -> None:
    class Closed(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: str = Field(description="A.")

    with pytest.raises(NotStructural, match="additionalProperties"):
        structural(Closed)


INT_FORMATS = {"no bound": ({}, "int64"), "small": ({"le": 100}, "int32"), "large": ({"le": 2**31}, "int64")}


@pytest.mark.parametrize(("bounds", "want"), INT_FORMATS.values(), ids=INT_FORMATS)
def test_an_integer_says_how_wide_it_is(bounds: dict[str, int], want: str) -> None:
    assert schema_of(int, **bounds)["format"] == want


DESCRIPTIONS = {
    "neither": (str, {}, "An x."),
    "default": (str, {"default": "a"}, "An x. Default: a."),
    "flag": (bool, {"default": False}, "An x. Default: false."),
    "floor": (int, {"ge": 1}, "An x. At least 1."),
    "ceiling": (int, {"le": 9}, "An x. At most 9."),
    "both": (int, {"ge": 1, "le": 9, "default": 2}, "An x. Default: 2. Between 1 and 9."),
}


@pytest.mark.parametrize(("annotation", "field", "want"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_description_ends_with_what_kubectl_explain_leaves_out(
    annotation: Any, field: dict[str, Any], want: str
) -> None:
    assert schema_of(annotation, **field)["description"] == want


def test_default_of_a_model_is_empty_and_its_fields_have_theirs() -> None:
    got = schema_of(Inner, default=Inner())

    assert got["default"] == {}
    assert got["properties"]["depth"]["default"] == 3


def test_default_of_a_model_holds_what_was_set() -> None:
    assert schema_of(Inner, default=Inner(depth=5))["default"] == {"depth": 5}


def test_description_of_a_model_in_a_list_is_its_docstring_on_one_line() -> None:
    assert schema_of(list[Inner])["items"]["description"] == "An inner object."


def test_rules_of_a_model_stay_with_every_use_of_it() -> None:
    assert schema_of(list[Odd])["items"][VALIDATIONS] == schema_of(Odd)[VALIDATIONS]


def test_status_has_no_defaults() -> None:
    got = structural(Inner, defaults=False)["properties"]["depth"]

    assert "default" not in got
    assert "Default" not in got["description"]
