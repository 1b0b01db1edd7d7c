"""Whether a value fits a JSON schema that a client sent, without letting that schema do harm.

The library is loaded with the first request that needs it.  A schema is a stranger's: nothing is fetched for it, its
regular expressions, which can be made to run for hours, are not run, and its branches, which can be made to double
with every level, are followed only so far.  A schema that cannot be used judges nobody.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import orjson

BYTES_MAX = 16 * 1024  # of a schema; a larger one is not checked
STEPS_MAX = 4_000  # keywords applied to one value: some 50 ms at worst

_PATTERNS = b'"patternProperties"'  # other keywords run its expressions too


class _TooMuch(Exception):
    """The schema asks for more steps than a request may cost."""


class _Steps:
    """How many keywords were applied; one value is checked at a time."""

    left: ClassVar[int] = 0


def fits(value: object, schema: object) -> bool:
    """True when `value` is valid under `schema`, and when the schema cannot be applied."""
    if not isinstance(schema, Mapping):
        return True
    text = orjson.dumps(schema)
    if len(text) > BYTES_MAX or _PATTERNS in text:
        return True
    valid = _check(text)
    return valid is None or valid(value)


@lru_cache(maxsize=64)
def _check(text: bytes) -> Callable[[object], bool] | None:
    """The check of one schema; None when it is no schema.  Most clients send the same few over and over."""
    from jsonschema import Draft202012Validator, SchemaError, validators  # noqa: PLC0415 - only when used
    from jsonschema_specifications import REGISTRY  # noqa: PLC0415 - its own meta-schemas, and it fetches nothing
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    schema = orjson.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError):
        return None
    keywords = {name: _counted(check) for name, check in Draft202012Validator.VALIDATORS.items()}
    kind = validators.extend(Draft202012Validator, {**keywords, "pattern": _anything})  # type: ignore[no-untyped-call]
    validator = kind(schema, registry=REGISTRY)

    def valid(value: object) -> bool:
        _Steps.left = STEPS_MAX
        try:
            return bool(validator.is_valid(value))
        except (_TooMuch, Unresolvable, RecursionError):
            return True

    return valid


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        _Steps.left -= 1
        if _Steps.left < 0:
            raise _TooMuch
        return check(*args)

    return counted


def _anything(*_: object) -> Iterator[Any]:
    return iter(())
