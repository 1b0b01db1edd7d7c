"""What the operator writes into a router's ConfigMap and the router reads: plain dataclasses, no pydantic.

The router's process carries no model library, so the table decodes itself, strictly: a table that is broken in any
way raises ValueError and the router keeps its last good one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ExternalTarget:
    """An OpenAI-compatible API outside the fleet.  Files are paths inside the router's pod."""

    base_url: str
    api_key_file: str | None
    ca_file: str | None


@dataclass(frozen=True, slots=True)
class TierRoute:
    """One step of a cascade.  Exactly one of `service` and `external` is set."""

    name: str  # the step's name inside the Cascade, e.g. small
    model_tier: str  # name of the ModelTier
    served_name: str  # what `model` is rewritten to
    weight_permille: int  # share of requests that start here
    timeout_s: float  # one attempt
    service: str | None  # Service whose EndpointSlices list the replicas
    external: ExternalTarget | None


@dataclass(frozen=True, slots=True)
class CascadeRoute:
    """One Cascade.  Weights sum to 1000, or are all 0 where no tier was ever ready."""

    cascade: str  # name of the Cascade object
    model_name: str  # what clients put in `model`
    deadline_s: float
    max_body_bytes: int
    tiers: tuple[TierRoute, ...]


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All Cascades of one router, by model name."""

    cascades: tuple[CascadeRoute, ...]


def encode(table: RouteTable) -> dict[str, Any]:
    """The table as JSON-ready values, with its format version first."""
    return {"formatVersion": FORMAT_VERSION, **asdict(table)}


def decode(raw: Mapping[str, Any]) -> RouteTable:
    """The table in `raw`.  Raises ValueError when the format is unknown or anything is missing or of a wrong shape."""
    version = raw.get("formatVersion")
    if version != FORMAT_VERSION:
        raise ValueError(f"route table has formatVersion {version!r}, this router reads {FORMAT_VERSION}")
    try:
        return RouteTable(cascades=tuple(_cascade(cascade) for cascade in raw["cascades"]))
    except (KeyError, TypeError) as err:
        raise ValueError(f"route table is broken: {err!r}") from err


def _cascade(raw: Mapping[str, Any]) -> CascadeRoute:
    tiers = tuple(_tier(tier) for tier in raw["tiers"])
    if not tiers or sum(tier.weight_permille for tier in tiers) not in (0, 1000):
        raise ValueError(f"cascade {raw['cascade']!r} has no tiers, or weights that do not sum to 1000")
    return CascadeRoute(**{**raw, "tiers": tiers})


def _tier(raw: Mapping[str, Any]) -> TierRoute:
    external = raw["external"]
    tier = TierRoute(**{**raw, "external": ExternalTarget(**external) if external else None})
    if (tier.service is None) == (tier.external is None):
        raise ValueError(f"tier {tier.name!r} needs exactly one of service and external")
    if tier.weight_permille < 0:
        raise ValueError(f"tier {tier.name!r} has a negative weight")
    return tier
