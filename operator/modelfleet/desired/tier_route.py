"""One step of a Cascade and its ModelTier -> what a router must know of them."""

import math

from modelfleet import names
from modelfleet.api import judging, serving
from modelfleet.api.cascade import CascadeTier
from modelfleet.api.meta import seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.route_table import AcceptRule, ColdRule, ExternalTarget, Price, TierRoute
from modelfleet.api.serving import ExternalApi
from modelfleet.desired import router

# Flags of llama-server that share the context in another way, or drop the beginning of what is too long.
_CONTEXT_FLAGS = ("-kvu", "--kv-unified", "--context-shift")
_CONTEXT_STEP = 256
# Beyond its slots an engine gets a few more, so that no slot is empty while the next request is on its way.  Every
# router gives so many by itself: dividing them would leave slots empty where clients stick to one router.
_ENGINE_QUEUE_SHARE = 4
# In line before the router: what a replica does in two rounds.  A Queue metric must be able to see its target passed.
_WAITING_ROUNDS = 2
_WAITING_TARGETS = 4


def tier_route(
    step: CascadeTier, tier: ModelTier, *, weight: int, last: bool, chosen: str | None
) -> TierRoute:
    """The step as routers see it.  `last`: none that can be used follows; `chosen`: the capacity loop's threshold."""
    external, routing = tier.spec.external, tier.spec.routing
    existing = tier.spec.existing
    service = existing.service_ref.name if existing else names.tier_child(tier.metadata.name)
    return TierRoute(
        name=step.name,
        model_tier=tier.metadata.name,
        served_name=tier.served_name,
        weight_permille=weight,
        timeout_s=seconds(step.timeout),
        service=None if external else service,
        service_port=tier.status.existing.port_name if existing and tier.status.existing else None,
        external=_target(tier.metadata.name, external) if external else None,
        engine=tier.engine,
        # The tiers after it may be suspended or missing: then there is nowhere to go on to.
        accept=None if last or step.accept is None else _accept(step.accept, chosen),
        concurrency=concurrency(tier),
        waiting=_waiting(tier),
        price=_price(tier.spec.price),
        context_tokens=context_tokens(tier),
        prefix_characters=routing.prefix_characters
        if routing and routing.strategy == "PrefixAffinity"
        else 0,
        cold=_cold(tier),
    )


def _cold(tier: ModelTier) -> ColdRule | None:
    idle = tier.spec.scaling.idle if tier.spec.scaling else None
    if idle is None or not tier.cold:
        return None
    return ColdRule(hold_s=seconds(idle.hold_timeout), held_max=idle.max_held)


def _price(price: serving.Price | None) -> Price | None:
    told = price and (price.input_per_million_tokens, price.output_per_million_tokens)
    if not told or told[0] is None or told[1] is None:
        return None
    # Dollars for a million tokens are micro-dollars for one.
    return Price(input_microdollars=float(told[0]), output_microdollars=float(told[1]))


def _accept(rule: judging.AcceptRule, chosen: str | None) -> AcceptRule:
    """`chosen` by the capacity loop, where the user left the threshold out; every score is accepted until it has."""
    threshold = judging.OPEN_THRESHOLD if chosen is None else float(chosen)
    return AcceptRule(
        signal=rule.signal, threshold=threshold if rule.threshold is None else float(rule.threshold)
    )


def concurrency(tier: ModelTier) -> int | None:
    """Requests that one router gives one replica at a time; None for an external API."""
    return None if tier.slots is None else tier.slots + max(1, tier.slots // _ENGINE_QUEUE_SHARE)


def context_tokens(tier: ModelTier) -> int | None:
    """Longest context of one request; None where nobody here knows it."""
    if tier.spec.vllm is not None:
        return tier.spec.vllm.max_model_len
    engine = tier.spec.llama_cpp
    if engine is None or any(arg.replace("_", "-").startswith(_CONTEXT_FLAGS) for arg in engine.args):
        return None
    # Divided among the slots and rounded up, as the server itself does it: 1000 among 3 are 512 for each.
    share = -(-engine.context_length // engine.slots)
    return -(-share // _CONTEXT_STEP) * _CONTEXT_STEP


def _waiting(tier: ModelTier) -> int:
    """Requests per replica that may wait in one router."""
    metrics = tier.spec.scaling.metrics if tier.spec.scaling else []
    targets = [float(metric.target) for metric in metrics if metric.type == "Queue"]
    rounds = _WAITING_ROUNDS * (concurrency(tier) or 0)
    return max(rounds, math.ceil(_WAITING_TARGETS * max(targets, default=0.0)))


def _target(tier: str, external: ExternalApi) -> ExternalTarget:
    folder = router.external_folder(tier)
    return ExternalTarget(
        base_url=external.base_url,
        api_key_file=f"{folder}/api-key" if external.api_key_secret_ref else None,
        ca_file=f"{folder}/ca.crt" if external.ca_config_map_ref else None,
        requests_per_minute=external.requests_per_minute,
        tokens_per_minute=external.tokens_per_minute,
    )
