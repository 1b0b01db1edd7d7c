"""What users' objects ask for and the simulator does not do: said by name, never passed over in silence."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.sim.questions import SCORE_MEDIAN


def of(cascade: Cascade, tiers: Mapping[str, ModelTier], *, others: Sequence[str] = ()) -> list[str]:
    """One line for each."""
    lines = [line for name, tier in tiers.items() for line in _of_tier(name, tier)]
    lines += _of_cascade(cascade)
    return [*lines, *(f"Cascade {name}: only {cascade.metadata.name} is simulated" for name in others)]


def scores(cascade: Cascade) -> Iterator[str]:
    """Where answers are judged and nobody gave scores."""
    for step in cascade.spec.tiers:
        if step.accept is not None:
            text = f"accept of tier {step.name}: its scores are made up (median -{SCORE_MEDIAN}); give yours with --scores"
            yield text


def controlled(cascade: Cascade, tiers: Mapping[str, ModelTier]) -> list[str]:
    """What the operator does here as in a cluster, and what no other policy knows of."""
    found = [f"{what} of tier {name}" for name, tier in tiers.items() for what in _controls(tier)]
    if names.ANNOTATION_PIN_WEIGHTS in cascade.metadata.annotations:
        found.append(f"{names.ANNOTATION_PIN_WEIGHTS} of Cascade {cascade.metadata.name}")
    if any(step.accept is not None and step.accept.threshold is None for step in cascade.spec.tiers):
        found.append(f"thresholds for targetShare of Cascade {cascade.metadata.name}")
    return found


def _controls(tier: ModelTier) -> Iterator[str]:
    scaling = tier.spec.scaling
    if scaling is not None:
        told = {
            "metrics": scaling.metrics,
            "schedules": scaling.schedules,
            "idle": scaling.idle,
            "fallback": scaling.fallback,
        }
        yield from (what for what, value in told.items() if value)
        if "behavior" in scaling.model_fields_set:
            yield "behavior"
        if scaling.mode == "Observe":
            yield "mode: Observe"
    if names.ANNOTATION_PIN_REPLICAS in tier.metadata.annotations:
        yield names.ANNOTATION_PIN_REPLICAS


def without(document: Manifest, profiles: Mapping[str, str]) -> Manifest:
    """The object without what cannot be simulated, and with the profile that is simulated."""
    found = copy.deepcopy(document)
    if found["kind"] == "Cascade":
        found["spec"].pop("budget", None)
        return found
    spec = found["spec"]
    existing = spec.pop("existing", None)
    if existing is not None:
        slots = {"slots": "maxNumSeqs"} if existing["engine"] == "vllm" else {"slots": "slots"}
        spec[existing["engine"]] = {slots["slots"]: existing["slots"]} if existing.get("slots") else {}
    scaling = spec.get("scaling")
    if scaling:
        told = profiles.get(found["metadata"]["name"])
        if told is not None and not scaling.get("metrics"):
            scaling["profile"] = told
        metrics = scaling.get("metrics") or []
        known = [metric for metric in metrics if metric.get("type") != "PromQL"]
        if known:
            scaling["metrics"] = known
    return found


def _of_tier(name: str, tier: ModelTier) -> Iterator[str]:
    spec, scaling = tier.spec, tier.spec.scaling
    metrics = scaling.metrics if scaling is not None else []
    alone = all(metric.type == "PromQL" for metric in metrics)
    for metric in metrics:
        if metric.type == "PromQL":
            then = "the tier stays as it is" if alone else "the others decide"
            yield f"metric {metric.name} of tier {name}: no query is answered here, {then}"
        if metric.type == "ITL":
            yield f"metric {metric.name} of tier {name}: means of answers stand for single gaps, which are longer"
    if scaling is not None and scaling.fallback is not None:
        yield f"fallback of tier {name}: metrics are lost only where --blind says so"
    if spec.existing is not None:
        yield f"existing of tier {name}: it is taken for one that the operator runs itself"
    if spec.external is not None:
        limits = [
            limit for limit in ("requests_per_minute", "tokens_per_minute") if getattr(spec.external, limit)
        ]
        for limit in limits:
            yield f"{_camel(limit)} of tier {name}: the API takes all that is sent"
    if spec.routing is not None and spec.routing.strategy == "PrefixAffinity":
        yield f"routing of tier {name}: the trace says what caches hold, and replicas are chosen by load"


def _of_cascade(cascade: Cascade) -> Iterator[str]:
    spec, name = cascade.spec, cascade.metadata.name
    named = Counter(step.tier_ref.name for step in spec.tiers)
    for tier, steps in named.items():
        if steps > 1:
            yield f"tier {tier} in {steps} places of Cascade {name}: each place gets replicas of its own"
    if spec.budget is not None:
        yield f"budget of Cascade {name}: money is counted and never runs out"
    if spec.limits.max_cost_per_request is not None:
        yield f"limits.maxCostPerRequest of Cascade {name}: every request may cost what it costs"
    if spec.data_policy is not None:
        yield f"dataPolicy of Cascade {name}: no request has a class of data"
    if spec.client_choice:
        yield f"clientChoice of Cascade {name}: no request names a tier"
    if spec.overflow is not None:
        yield f"overflow of Cascade {name}: requests leave a tier only where it has no replica"
    for step in spec.tiers:
        if "timeout" in step.model_fields_set:
            yield f"timeout of tier {step.name} in Cascade {name}: no tier times out"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
