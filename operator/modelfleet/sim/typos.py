"""Fields that no object has: the API server would refuse them, so a simulation of them would be of something else."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

_NOT_OURS = frozenset({"apiVersion", "kind", "metadata", "status"})


def typos(document: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    """Each unknown field of a document, with what may have been meant."""
    spec = {name: value for name, value in document.items() if name not in _NOT_OURS}
    yield from _unknown(spec, model, where="")


def _unknown(value: Any, model: type[BaseModel], *, where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        return
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for name, inner in value.items():
        path = f"{where}.{name}" if where else str(name)
        if name not in fields:
            near = get_close_matches(str(name), fields, n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(fields))}"
            yield f"{path}: no such field{meant}"
            continue
        for nested in _models(fields[name].annotation):
            items = enumerate(inner) if isinstance(inner, list) else [(None, inner)]
            for at, item in items:
                yield from _unknown(item, nested, where=path if at is None else f"{path}[{at}]")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field may hold, by itself or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
