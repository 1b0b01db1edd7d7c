"""The route tables of the benchmark: 9:1 over two tiers without and with an accept rule on the first."""

from typing import Any

from bench.router.targets import OURS, OURS_CASCADE
from modelfleet import names
from modelfleet.api.route_table import CascadeRoute, RouteTable, TierRoute, encode

# Between the two values that the stand-in engine gives its tokens.
THRESHOLD = -1.0
ROUTERS = {OURS: names.SHARED_ROUTER, OURS_CASCADE: "bench-cascade"}


def tables() -> dict[str, Any]:
    """By ConfigMap name."""
    return {names.route_table(ROUTERS[OURS]): encode(RouteTable((_cascade(900, 100),)))}


def _cascade(small: int, big: int) -> CascadeRoute:
    tiers = (_tier("small", small), _tier("big", big))
    return CascadeRoute(
        cascade="bench", model_name="bench", deadline_s=120.0, max_body_bytes=1 << 21, tiers=tiers
    )


def _tier(name: str, weight: int) -> TierRoute:
    return TierRoute(
        name=name,
        model_tier=name,
        served_name=f"{name}-model",
        weight_permille=weight,
        timeout_s=60.0,
        service=name,
        external=None,
    )
