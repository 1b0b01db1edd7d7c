from typing import Annotated, ClassVar

import pytest
from pydantic import Field

from modelfleet.api.cel import VALIDATIONS, Rule, literal, with_rules
from modelfleet.api.meta import ApiModel

SHORT = Rule("self.size() < 9", "must be short")
NO_DOTS = Rule("!self.contains('.')", "must hold no dots")
PAIR = Rule("self.low <= self.high", "low must not be above high", at=".low")


class Range(ApiModel):
    """A range."""

    rules: ClassVar[tuple[Rule, ...]] = (PAIR,)

    low: int = Field(description="Low.")
    high: int = Field(description="High.")


class Holder(ApiModel):
    """Holds all kinds of rules."""

    name: Annotated[str, SHORT, NO_DOTS] = Field(description="Name.")
    range: Range = Field(description="Range.")


def test_rules_of_a_type_and_of_a_model_reach_the_schema_in_their_order() -> None:
    schema = Holder.model_json_schema()

    assert [rule["message"] for rule in schema["properties"]["name"][VALIDATIONS]] == [
        "must be short",
        "must hold no dots",
    ]
    assert schema["$defs"]["Range"][VALIDATIONS] == [
        {"rule": "self.low <= self.high", "message": "low must not be above high", "fieldPath": ".low"}
    ]


def test_rules_are_not_for_reading() -> None:
    # A stored object that a newer rule would refuse must still be readable.
    assert (
        Holder.model_validate({"name": "a.much.too.long.name", "range": {"low": 2, "high": 1}}).range.low == 2
    )


def test_with_rules_changes_nothing_in_place() -> None:
    before = {"type": "string"}

    after = with_rules(before, SHORT)

    assert before == {"type": "string"}
    assert VALIDATIONS in after


def test_literal_is_a_cel_list() -> None:
    assert literal(("-m", "--model")) == "['-m', '--model']"


@pytest.mark.parametrize("value", ["it's", "back\\slash"])
def test_literal_takes_nothing_that_needs_escaping(value: str) -> None:
    with pytest.raises(AssertionError):
        literal([value])
