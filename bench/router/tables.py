"""The route tables of the benchmark: 9:1 over two tiers without and with an accept rule on the first."""

from typing import Any

from bench.router.targets import OURS, OURS_CASCADE
from modelfleet import names
from modelfleet.api.route_table import AcceptRule, CascadeRoute, RouteTable, TierRoute, encode

# Between the two values that the stand-in engine gives its tokens.
THRESHOLD = -1.0
HOLD_TOKENS = 8
ROUTERS = {OURS: names.SHARED_ROUTER, OURS_CASCADE: "bench-cascade"}


def tables() -> dict[str, Any]:
    """By ConfigMap name."""
    rule = AcceptRule(signal="MeanLogprob", threshold=THRESHOLD)
    found = {
        OURS: _cascade(_tier("small", 900), _tier("big", 100)),
        OURS_CASCADE: _cascade(_tier("small", 1000, accept=rule), _tier("big", 0)),
    }
    return {names.route_table(ROUTERS[name]): encode(RouteTable((route,))) for name, route in found.items()}


def _cascade(*tiers: TierRoute) -> CascadeRoute:
    return CascadeRoute(
        cascade="bench",
        model_name="bench",
        deadline_s=120.0,
        max_body_bytes=1 << 21,
        tiers=tiers,
        hold_tokens=HOLD_TOKENS,
        hold_s=10.0,  # so that it is the tokens that count
    )


def _tier(name: str, weight: int, *, accept: AcceptRule | None = None) -> TierRoute:
    return TierRoute(
        name=name,
        model_tier=name,
        served_name=f"{name}-model",
        weight_permille=weight,
        timeout_s=60.0,
        service=name,
        external=None,
        engine="vllm",
        accept=accept,
        concurrency=4096,
        waiting=16,
    )
