"""Of a workload that somebody else runs: its address, and how many replicas it should be asked for."""

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.existing import ExistingWorkload
from modelfleet.api.model_tier import ModelTier


def endpoint(existing: ExistingWorkload, *, namespace: str, port: int | None) -> str:
    """Base URL of its API inside the cluster; without a port where that is not known."""
    at = "" if port in (None, names.SERVICE_PORT) else f":{port}"
    return f"http://{existing.service_ref.name}.{namespace}.svc{at}/v1"


def replicas(tier: ModelTier, *, running: int) -> int:
    """What the scale target should be asked for, given what it is asked for already.

    Without a decision it keeps what it has: minReplicas and maxReplicas are the capacity loop's to enforce, which says
    why in the same moment.  A suspended tier leaves its workload as it is: others may use it.
    """
    existing, scaling = tier.spec.existing, tier.spec.scaling
    if existing is None or existing.scale_target_ref is None or tier.spec.suspend:
        return running
    pinned = pins.replicas(tier.metadata.annotations).replicas
    if pinned is not None:
        return pinned
    decided = tier.status.desired_replicas
    if scaling is None or scaling.mode == "Observe" or decided is None:
        return running
    return min(max(decided, scaling.min_replicas), scaling.max_replicas)
