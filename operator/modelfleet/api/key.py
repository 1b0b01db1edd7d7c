"""How our code names one object."""

from typing import NamedTuple


class Key(NamedTuple):
    """Names one object.  kind is the Kubernetes kind, e.g. ModelTier."""

    kind: str
    namespace: str
    name: str
