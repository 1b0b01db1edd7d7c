"""A client's schema decides about an answer, and about nothing else."""

import subprocess
import sys
from typing import Any

import pytest

from modelfleet.route.schema import BYTES_MAX, fits

DOUBLING = {
    f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/d{level + 1}"}]}
    for level in range(40)
} | {"d40": {"type": "string"}}

ROWS: dict[str, tuple[Any, Any, bool]] = {
    "fits": ({"a": 1}, {"type": "object", "required": ["a"]}, True),
    "does not": ({"b": 1}, {"type": "object", "required": ["a"]}, False),
    "refers to a part of itself": (7, {"$defs": {"s": {"type": "string"}}, "$ref": "#/$defs/s"}, False),
    "is no schema: judges nobody": (7, {"type": "bogus"}, True),
    "is no object: judges nobody": (7, "x", True),
    "refers to another machine: nothing is fetched": (7, {"$ref": "http://127.0.0.1:9/x"}, True),
    "refers to itself for ever": (7, {"$ref": "#"}, True),
    "has an expression that would run for hours": ("a" * 40 + "!", {"pattern": "(a+)+$"}, True),
    "hides it behind names": ({"a" * 40 + "!": 1}, {"patternProperties": {"(a+)+$": {}}}, True),
    "doubles with every level": (7, {"$defs": DOUBLING, "$ref": "#/$defs/d0"}, True),
    "is larger than a schema should be": (7, {"enum": ["x" * BYTES_MAX]}, True),
}


@pytest.mark.parametrize(("value", "schema", "want"), ROWS.values(), ids=ROWS)
def test_fits(value: Any, schema: Any, *, want: bool):
    assert fits(value, schema) is want


def test_the_library_is_loaded_only_when_used():
    code = (
        "import sys, modelfleet.router.app; from modelfleet.route import schema;"
        "before = 'jsonschema' in sys.modules; schema.fits(1, {'type': 'string'});"
        "print(before, 'jsonschema' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": "operator"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.split() == ["False", "True"]
