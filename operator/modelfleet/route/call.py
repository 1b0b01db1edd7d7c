"""A completion request as the router needs to know it, and as an engine is to get it."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from modelfleet.route import twins
from modelfleet.route.refusal import Refusal, Refused

EMBEDDINGS = b"/v1/embeddings"  # the only path of its kind: never streamed, never judged
_TOO_DEEP = "The request body is nested too deeply."
# Engines were seen to take any number: to reserve that many sequences, or to overflow.
_MOST: Final = (("n", 128), ("best_of", 128), ("max_tokens", 2**31 - 1), ("max_completion_tokens", 2**31 - 1))


class Call:
    """A checked request body.  `fields` is everything the client sent, never changed."""

    __slots__ = ("fields", "model", "stream", "wants_usage")

    # No dataclass: a frozen one takes a microsecond to make, and this is every request.
    def __init__(self, fields: dict[str, Any], model: str, *, stream: bool, wants_usage: bool) -> None:
        self.fields = fields
        self.model = model
        self.stream = stream
        self.wants_usage = wants_usage  # the client asked for the usage event of a stream

    def encoded(self, served_name: str, extra: Mapping[str, Any] | None = None) -> bytes:
        """The body for a tier: `model` is its served name, and a stream always tells its usage at the end.

        `extra` takes the place of fields that the client sent; a None in it removes one.
        Raises Refused (400) when the body is nested deeper than any engine would read.
        """
        body = self.fields.copy()
        body["model"] = served_name
        if extra is not None:
            for name, value in extra.items():
                if value is None:
                    body.pop(name, None)
                else:
                    body[name] = value
        if self.stream:
            body["stream_options"] = {**(self.fields.get("stream_options") or {}), "include_usage": True}
        try:
            return orjson.dumps(body)
        except orjson.JSONEncodeError:
            raise _bad(_TOO_DEEP) from None


def parse(body: bytes) -> Call:
    """The call in `body`.  Raises Refused (400) when it is no JSON object with a model and sane stream fields."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as err:
        # The error's own text may quote the body; position is enough to find it.
        raise _bad(f"The request body is not valid JSON (line {err.lineno}, column {err.colno}).") from None
    if not isinstance(fields, dict):
        raise _bad("The request body must be a JSON object.")
    try:
        if twins.field_twice(body, fields):
            raise _bad("The request body names a field twice.", code="duplicate_field")
    except (orjson.JSONEncodeError, RecursionError):
        raise _bad(_TOO_DEEP) from None
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _bad("`model` must be the name of a model, see GET /v1/models.", param="model")
    stream = fields.get("stream")
    if not (stream is None or isinstance(stream, bool)):
        raise _bad("`stream` must be true or false.", param="stream")
    options = fields.get("stream_options")
    if not (options is None or isinstance(options, dict)):
        raise _bad("`stream_options` must be an object.", param="stream_options")
    for name, most in _MOST:
        value = fields.get(name)
        if isinstance(value, int | float) and value > most:
            raise _bad(f"`{name}` must be at most {most}.", param=name)
    return Call(
        fields,
        model,
        stream=bool(stream),
        wants_usage=bool(options and options.get("include_usage")),
    )


def _bad(message: str, *, param: str | None = None, code: str | None = None) -> Refused:
    return Refused(Refusal(400, message, "invalid_request_error", param=param, code=code))
