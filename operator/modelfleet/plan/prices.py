"""What a replica of ours costs, where somebody says it."""

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.model_tier import ModelTier


def replica_hour_usd(tier: ModelTier, settings: FleetSettings) -> float | None:
    """US dollars for an hour of one replica: what the tier says, else its node pool's units; None where nobody does."""
    told = tier.spec.price.per_replica_hour if tier.spec.price is not None else None
    if told is not None:
        return float(told)
    ref = tier.spec.node_pool
    pool = settings.node_pools.get(ref.name) if ref is not None else None
    return float(pool.price_per_hour) * ref.count if ref and pool and pool.price_per_hour else None
