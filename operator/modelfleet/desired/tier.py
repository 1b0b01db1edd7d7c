"""The complete set of children of one ModelTier, and how many replicas it should have."""

from dataclasses import dataclass

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.fleet_settings import FleetSettings, NodePool
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import engines, meta
from modelfleet.desired.deployment import deployment
from modelfleet.errors import InvalidSpec

NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Children:
    """What should exist.  `absent` names (kind, name) of children that should not."""

    wanted: tuple[Manifest, ...]
    absent: tuple[tuple[str, str], ...] = ()


def tier(spec: ModelTier, settings: FleetSettings, *, revision: str | None, replicas: int) -> Children:
    """Children of the tier.  Raises InvalidSpec when it refers to a pool that the settings do not have."""
    engine = engines.of(spec)
    child = names.tier_child(spec.metadata.name)
    if engine is None:
        return Children((), absent=_all(child))
    runs_on = pool(spec, settings)
    wanted = [
        meta.service_account(_metadata(spec)),
        service(spec),
        deployment(
            spec, engine=engine, pool=runs_on, settings=settings, revision=revision, replicas=replicas
        ),
    ]
    if _several(spec, replicas):
        return Children((*wanted, meta.disruption_budget(_metadata(spec), selector=meta.tier_selector(spec))))
    # At one replica a budget would block every node drain and protect nothing.
    return Children(tuple(wanted), absent=(("PodDisruptionBudget", child),))


def replicas(spec: ModelTier, observed: Manifest | None) -> int:
    """Replicas the Deployment should have, given the one that is there.

    Where the capacity loop has not decided yet, what runs stays: a restart must never scale anything.
    """
    if spec.spec.suspend:
        return 0
    pinned = pins.replicas(spec.metadata.annotations).replicas
    if pinned is not None:
        return pinned  # Break-glass does not wait for the capacity loop, which may be what is broken.
    scaling = spec.spec.scaling
    if scaling is None:
        return spec.spec.replicas
    running = int(observed["spec"].get("replicas", 0)) if observed else 0
    decided = spec.status.desired_replicas
    wish = (running or spec.spec.replicas) if decided is None else decided
    if scaling.mode == "Observe":
        return wish  # The bounds are part of what is only shown.
    least = 0 if decided is not None and _pool_is_full(spec) else scaling.min_replicas
    return min(max(wish, least), scaling.max_replicas)


def _pool_is_full(spec: ModelTier) -> bool:
    """Whether the capacity loop gave the tier less than it should have, since its node pool has no room."""
    return any(each.type == "ScalingActive" and each.reason == "PoolLimit" for each in spec.status.conditions)


def service(spec: ModelTier) -> Manifest:
    """The one stable address of a tier."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(spec),
        "spec": {
            "selector": meta.tier_selector(spec),
            "ports": [
                {
                    "name": names.PORT_HTTP,
                    "port": names.SERVICE_PORT,
                    "protocol": "TCP",
                    "targetPort": names.PORT_HTTP,
                }
            ],
        },
    }


def endpoint(spec: ModelTier) -> str:
    """Base URL of the tier's API, as its clients spell it."""
    if spec.spec.external is not None:
        return spec.spec.external.base_url
    return f"http://{names.tier_child(spec.metadata.name)}.{spec.metadata.namespace}.svc/v1"


def selector(spec: ModelTier) -> str:
    """What finds the tier's pods, as the scale subresource wants it."""
    return ",".join(f"{key}={value}" for key, value in sorted(meta.tier_selector(spec).items()))


def _all(child: str) -> tuple[tuple[str, str], ...]:
    kinds = ("Deployment", "PodDisruptionBudget", "Service", "ServiceAccount")
    return tuple((kind, child) for kind in kinds)


def _several(spec: ModelTier, replicas: int) -> bool:
    """Whether one replica may go while another answers."""
    scaling = spec.spec.scaling
    return replicas > 1 or (scaling is not None and scaling.min_replicas > 1)


def pool(spec: ModelTier, settings: FleetSettings) -> NodePool:
    """The kind of node it runs on.  Raises InvalidSpec when the settings have no such pool."""
    if spec.spec.node_pool is None:
        return NodePool()
    name = spec.spec.node_pool.name
    if found := settings.node_pools.get(name):
        return found
    known = sorted(settings.node_pools)
    shown = ", ".join(known[:NAMES_SHOWN]) + (", ..." if len(known) > NAMES_SHOWN else "")
    raise InvalidSpec(
        "NodePoolNotFound",
        f"Node pool {name} is not in the operator's settings; known pools: {shown or 'none'}",
    )


def _metadata(spec: ModelTier) -> Manifest:
    return meta.child(
        name=names.tier_child(spec.metadata.name),
        namespace=spec.metadata.namespace,
        owners=meta.owned_by_tier(spec),
        labels=meta.tier_labels(spec),
    )
